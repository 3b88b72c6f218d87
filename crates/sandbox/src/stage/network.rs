//! The jail's network: a loopback interface alone, which answers for every address there is.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::{AsRawFd as _, OwnedFd};

// rtnetlink(7), netlink(7); the numbers are the kernel's interface.
const NEW_LINK: u16 = 16;
const NEW_ROUTE: u16 = 24;
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
const CREATE: u16 = 0x400;
const LOOPBACK: i32 = 1;
const OUTPUT_INTERFACE: u16 = 4;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Raises the loopback interface and leads all addresses to it. Whoever connects to anything then
/// reaches the sinkhole, or nobody.
pub(super) fn raise() -> Result<(), String> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .map_err(|e| format!("the jail's network cannot be reached: {e}"))?;
    let mut link = vec![0; 4];
    link.extend(LOOPBACK.to_ne_bytes());
    link.extend(1u32.to_ne_bytes());
    link.extend(1u32.to_ne_bytes());
    ask(&socket, NEW_LINK, 0, &link)
        .map_err(|e| format!("the loopback interface cannot be raised: {e}"))?;
    ask(&socket, NEW_ROUTE, CREATE, &route(IPV4))
        .map_err(|e| format!("addresses cannot be led to the sinkhole: {e}"))?;
    // A kernel without version 6 has no such addresses that anyone could connect to.
    let _ = ask(&socket, NEW_ROUTE, CREATE, &route(IPV6));
    Ok(())
}

/// A route that makes every address one of this machine's own.
fn route(family: u8) -> Vec<u8> {
    const LOCAL_TABLE: u8 = 255;
    const BY_ADMINISTRATOR: u8 = 4;
    const OF_HOST: u8 = 254;
    const LOCAL: u8 = 2;
    let mut out = vec![family, 0, 0, 0, LOCAL_TABLE, BY_ADMINISTRATOR, OF_HOST, LOCAL, 0, 0, 0, 0];
    out.extend(8u16.to_ne_bytes());
    out.extend(OUTPUT_INTERFACE.to_ne_bytes());
    out.extend(LOOPBACK.to_ne_bytes());
    out
}

/// Sends a request and reads its acknowledgement.
fn ask(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> nix::Result<()> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST_AND_ACKNOWLEDGE | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code: [u8; 4] = [answer[16], answer[17], answer[18], answer[19]];
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        error => Err(nix::Error::from_raw(-error)),
    }
}
