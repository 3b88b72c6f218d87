//! Telling the service manager how the gateway does: the protocol of sd_notify(3), one datagram a
//! message.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's socket, where there is one.
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// The socket that the environment names.
    pub fn from_env() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(open))
    }

    /// Sends lines such as `READY=1`. A manager that does not listen is no reason to fail.
    pub fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::warn!(%error, "the service manager was not told");
        }
    }

    /// How often the manager wants to hear of this process, if it does: half of its patience.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let mine = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let patience = number("WATCHDOG_USEC").filter(|n| mine && *n > 1)?;
        Some(Duration::from_micros(patience / 2))
    }
}

fn open(name: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let bytes = name.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(hidden) => abstract_name(hidden)?,
        None if bytes.starts_with(b"/") => SocketAddr::from_pathname(&name).ok()?,
        None => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address))
}

/// A name that is in no file system, which only Linux has (unix(7)).
#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> Option<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name).ok()
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_name: &[u8]) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn a_socket_is_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        Notify(open(path.into_os_string())).say("READY=1");
        assert_eq!(heard(&named), "READY=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_in_no_file_system_is_spoken_to() {
        use std::os::linux::net::SocketAddrExt as _;
        let hidden = format!("countersign-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&hidden).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        Notify(open(format!("@{hidden}").into())).say("STOPPING=1");
        assert_eq!(heard(&listening), "STOPPING=1");
    }

    #[test]
    fn a_manager_that_is_not_there_is_no_failure() {
        Notify(open("/nowhere/at/all".into())).say("READY=1");
        assert!(open("relative".into()).is_none());
    }
}
