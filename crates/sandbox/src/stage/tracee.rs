//! A stopped process: which call it makes, with which arguments.
//!
//! HOLE: a second thread may change a path between this look and the kernel's. What is recorded may
//! then be wrong; what is confined is not, since that rests on the kernel's own look.

use nix::libc;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

/// A call that a process is about to make.
pub(super) struct Call {
    /// Its number.
    pub(super) number: i64,
    /// Its arguments as they stand in registers.
    pub(super) arguments: [u64; 6],
}

/// Where a call sends to.
pub(super) enum Address {
    /// An address of the internet.
    Net(SocketAddr),
    /// A socket of this machine, by path, or by a name that begins with `@`.
    Local(String),
}

/// Bytes of arguments that are kept of one program.
const ARGUMENTS: usize = 8 << 10;

#[cfg(target_arch = "x86_64")]
pub(super) fn call(pid: Pid) -> nix::Result<Call> {
    let r = ptrace::getregs(pid)?;
    let number = r.orig_rax.cast_signed();
    Ok(Call { number, arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] })
}

/// Makes the kernel skip the call, which then fails with "not permitted".
#[cfg(target_arch = "x86_64")]
pub(super) fn refuse(pid: Pid) -> nix::Result<()> {
    let mut r = ptrace::getregs(pid)?;
    r.orig_rax = u64::MAX;
    r.rax = (-i64::from(libc::EPERM)).cast_unsigned();
    ptrace::setregs(pid, r)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn call(_: Pid) -> nix::Result<Call> {
    Err(nix::Error::ENOSYS)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn refuse(_: Pid) -> nix::Result<()> {
    Err(nix::Error::ENOSYS)
}

/// Whether calls can be read on this processor.
pub(super) const READABLE: bool = cfg!(target_arch = "x86_64");

/// Reads memory of a process, no further than the page's end where the next page is not there.
fn memory(pid: Pid, address: u64, most: usize) -> Vec<u8> {
    const PAGE: u64 = 4096;
    let mut out = Vec::new();
    let mut at = address;
    while out.len() < most {
        let in_page = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
        let mut chunk = vec![0; in_page.min(most - out.len())];
        let Ok(base) = usize::try_from(at) else { break };
        let remote = [RemoteIoVec { base, len: chunk.len() }];
        let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut chunk)], &remote);
        let Ok(read) = read else { break };
        out.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if read < chunk.len() {
            break;
        }
        at = at.saturating_add(read as u64);
    }
    out
}

/// The text that ends with a zero byte.
pub(super) fn string(pid: Pid, address: u64) -> String {
    let mut out = Vec::new();
    // Most paths are short: one look at a page for all but the longest.
    while out.len() < libc::PATH_MAX.unsigned_abs() as usize {
        let more = memory(pid, address.saturating_add(out.len() as u64), 256);
        let end = more.iter().position(|b| *b == 0);
        out.extend_from_slice(more.get(..end.unwrap_or(more.len())).unwrap_or_default());
        if end.is_some() || more.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A list of texts that ends with a null pointer.
pub(super) fn strings(pid: Pid, address: u64) -> Vec<String> {
    let pointers = memory(pid, address, 64 * 8);
    let pointers = pointers.chunks_exact(8).map(number).take_while(|p| *p != 0);
    let mut left = ARGUMENTS;
    let mut out = Vec::new();
    for pointer in pointers {
        let text: String = string(pid, pointer).chars().take(left).collect();
        left = left.saturating_sub(text.len());
        out.push(text);
        if left == 0 {
            break;
        }
    }
    out
}

/// A number of a structure in memory, of a size that is read whole or counts as zero.
pub(super) fn word(pid: Pid, address: u64, size: usize) -> u64 {
    let bytes = memory(pid, address, size);
    if bytes.len() == size { number(&bytes) } else { 0 }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// The address of a `sockaddr` (ip(7), ipv6(7), unix(7)).
pub(super) fn address(pid: Pid, at: u64, length: u64) -> Option<Address> {
    let length = usize::try_from(length).ok()?.min(128);
    let raw = memory(pid, at, length);
    let family = i32::from(u16::from_ne_bytes([*raw.first()?, *raw.get(1)?]));
    let port = || Some(u16::from_be_bytes([*raw.get(2)?, *raw.get(3)?]));
    match family {
        libc::AF_INET => {
            let octets: [u8; 4] = raw.get(4..8)?.try_into().ok()?;
            Some(Address::Net(SocketAddr::from((Ipv4Addr::from(octets), port()?))))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = raw.get(8..24)?.try_into().ok()?;
            Some(Address::Net(SocketAddr::from((Ipv6Addr::from(octets), port()?))))
        }
        libc::AF_UNIX => {
            let path = raw.get(2..)?;
            let (mark, path) = match path.split_first()? {
                (0, rest) => ("@", rest),
                _ => ("", path.split(|b| *b == 0).next()?),
            };
            Some(Address::Local(format!("{mark}{}", String::from_utf8_lossy(path))))
        }
        _ => None,
    }
}

/// The path that a call means, from the folder that it is relative to, with its links followed.
pub(super) fn path(pid: Pid, folder: u64, name: &str) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes the lower half as well")]
    let folder = folder as u32 as i32;
    let mut whole = if name.starts_with('/') {
        PathBuf::from("/")
    } else {
        let link = match folder {
            libc::AT_FDCWD => format!("/proc/{pid}/cwd"),
            number => format!("/proc/{pid}/fd/{number}"),
        };
        std::fs::read_link(link).unwrap_or_default()
    };
    for part in Path::new(name).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    followed(&whole).display().to_string()
}

/// The path without links, as far as it is there. Links of `/proc` are the looking process's own.
fn followed(path: &Path) -> PathBuf {
    if path.starts_with("/proc") {
        return path.to_owned();
    }
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
