//! Networks of trusted proxies, and which of the addresses in a request is the client's.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP network (`10.0.0.0/8`, `fd00::/8`), or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no network; write an address such as `192.0.2.7` or a network such as `192.0.2.0/24`"
)]
pub struct NetworkError(String);

impl Network {
    /// Whether an address lies in it. An IPv4 address in IPv6's form counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let cut = |value: u128, width: u32| {
            let host_bits = width.saturating_sub(u32::from(self.bits));
            value.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                cut(u32::from(own).into(), 32) == cut(u32::from(other).into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                cut(u128::from(own), 128) == cut(u128::from(other), 128)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let err = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| err())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| err())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width { Err(err()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that is none of the trusted proxies. What comes before that one is only what
/// the client says.
pub(super) fn client_address(peer: IpAddr, forwarded_for: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |a: IpAddr| trusted.iter().any(|n| n.contains(a));
    let mut client = peer.to_canonical();
    let list = forwarded_for.iter().flat_map(|v| v.split(',')).map(str::trim);
    for text in list.collect::<Vec<_>>().into_iter().rev() {
        if !is_trusted(client) {
            break;
        }
        let Ok(address) = text.parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn what_lies_in_a_network() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("127.0.0.1/32", "::ffff:127.0.0.1", "::1"),
        ] {
            let n: Network = network.parse().unwrap();
            assert!(n.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!n.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for bad in ["10.0.0.0/33", "::/129", "host", "10.0.0.0/-1", "10.0.0.0/", "", "10.0/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_who_the_client_is() {
        let trusted = networks(&["127.0.0.1", "10.0.0.0/8"]);
        for (peer, header, want) in [
            ("203.0.113.9", vec!["198.51.100.1"], "203.0.113.9"),
            ("127.0.0.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", vec!["192.0.2.66, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
            ("127.0.0.1", vec!["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("127.0.0.1", vec!["nonsense"], "127.0.0.1"),
            ("127.0.0.1", vec!["198.51.100.1, nonsense, 10.0.0.1"], "10.0.0.1"),
        ] {
            let got = client_address(peer.parse().unwrap(), &header, &trusted);
            assert_eq!(got, want.parse::<IpAddr>().unwrap(), "{peer} {header:?}");
        }
    }
}
