//! To whom nothing is relayed: addresses that mean something only inside a
//! network of its own. Without this a TURN server is a door into the network
//! that it stands in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports below this one are services, never a browser's.
const PORT_MIN: u16 = 1024;

/// What may be a peer.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks of their own are allowed: for tests and closed networks.
    pub allow_local: bool,
    /// The relay's own addresses. Only its relayed ports are allowed there,
    /// for two clients of one relay.
    pub own: Vec<IpAddr>,
    /// Those ports.
    pub ports: (u16, u16),
}

impl Guard {
    /// Whether datagrams may go to this address, and come from it.
    #[must_use]
    pub fn allows(&self, peer: &SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || peer.port() == 0 {
            return false;
        }
        if self.allow_local {
            return true;
        }
        if self.own.iter().any(|own| own.to_canonical() == ip) {
            return (self.ports.0..=self.ports.1).contains(&peer.port());
        }
        !is_local(ip) && peer.port() >= PORT_MIN
    }

    /// Whether a permission for this address makes sense. Ports are judged
    /// with each datagram.
    #[must_use]
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        self.allows(&SocketAddr::new(ip, self.ports.0.max(PORT_MIN)))
    }
}

/// Whether an address belongs to a network of its own, or to nobody.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => local4(ip),
        IpAddr::V6(ip) => local6(ip),
    }
}

fn local4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
}

fn local6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |hi: u16, lo: u16| {
        let [a, b] = hi.to_be_bytes();
        let [c, d] = lo.to_be_bytes();
        local4(Ipv4Addr::new(a, b, c, d))
    };
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || (s[0] & 0xfe00) == 0xfc00
        || (s[0] & 0xffc0) == 0xfe80
        || (s[0] & 0xffc0) == 0xfec0
        || s[0] == 0x0100
        // IPv4 inside: compatible, translated (NAT64), 6to4, Teredo.
        || (s[..6] == [0; 6] && embedded(s[6], s[7]))
        || (s[0] == 0x64 && s[1] == 0xff9b && (s[2] != 0 || embedded(s[6], s[7])))
        || (s[0] == 0x2002 && embedded(s[1], s[2]))
        || (s[0] == 0x2001 && s[1] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_of_their_own_are_known_in_every_disguise() {
        for bad in [
            "127.0.0.1",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "100::1",
        ] {
            assert!(is_local(ip(bad)), "{bad}");
        }
        for good in [
            "1.1.1.1",
            "198.51.100.7",
            "172.32.0.1",
            "172.15.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.2.1",
            "223.255.255.255",
            "2001:db8::1",
            "2a00::1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!is_local(ip(good)), "{good}");
        }
    }

    #[test]
    fn the_relay_itself_is_reached_at_relayed_ports_only() {
        let guard = Guard { allow_local: false, own: vec![ip("198.51.100.1")], ports: (50_000, 50_100) };
        let at = |text: &str| guard.allows(&text.parse().unwrap());
        assert!(at("198.51.100.1:50000") && at("198.51.100.1:50100"));
        assert!(!at("198.51.100.1:4001") && !at("198.51.100.1:22"));
        assert!(at("198.51.100.2:4001") && !at("198.51.100.2:22"));
        assert!(!at("[::ffff:198.51.100.1]:4001"));
        assert!(guard.allows_ip(ip("198.51.100.1")) && !guard.allows_ip(ip("10.0.0.1")));
        let open = Guard { allow_local: true, ..guard };
        assert!(open.allows(&"127.0.0.1:22".parse().unwrap()));
        assert!(!open.allows(&"0.0.0.0:22".parse().unwrap()));
        assert!(!open.allows(&"224.0.0.1:5000".parse().unwrap()));
    }
}
