//! Which addresses leave in a call, and which of the other side's are tried.
//!
//! Owns the reading of candidate lines (RFC 8839) and session descriptions as
//! far as addresses stand in them. What is sent shows no more than the policy
//! allows; what comes in never leads the browser to this machine's own
//! services. A line that is not understood is dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kith_wire::call::CANDIDATE_BYTES_MAX;

/// Ports below this one belong to services.
const PORT_MIN: u16 = 1024;

/// What this machine itself listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Address and port of each own service.
    pub services: Vec<(IpAddr, u16)>,
}

impl Own {
    /// From the multiaddrs that the node is reached at.
    #[must_use]
    pub fn of(addrs: &[String]) -> Self {
        let services = addrs.iter().filter_map(|addr| {
            let mut parts = addr.split('/').skip(1);
            let (kind, ip, _, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let ip = if matches!(kind, "ip4" | "ip6") { ip.parse().ok()? } else { return None };
            Some((ip, port.parse().ok()?))
        });
        Self { services: services.collect() }
    }

    fn has(&self, ip: IpAddr, port: u16) -> bool {
        self.services.iter().any(|(own, p)| *p == port && (*own == ip || own.is_unspecified()))
    }
}

/// A candidate line in its parts.
struct Candidate<'a> {
    foundation: &'a str,
    component: &'a str,
    priority: &'a str,
    ip: IpAddr,
    port: u16,
    kind: &'a str,
    rest: Vec<&'a str>,
}

fn word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn parse(line: &str) -> Option<Candidate<'_>> {
    if line.len() > CANDIDATE_BYTES_MAX {
        return None;
    }
    let line = line.strip_prefix("a=").unwrap_or(line).strip_prefix("candidate:")?;
    let mut words = line.split(' ').filter(|w| !w.is_empty());
    let (foundation, component, transport) = (words.next()?, words.next()?, words.next()?);
    let (priority, ip, port) = (words.next()?, words.next()?, words.next()?);
    let (typ, kind) = (words.next()?, words.next()?);
    let rest: Vec<&str> = words.collect();
    // Only addresses in digits: a name would have this machine ask around for it.
    let ip: IpAddr = ip.parse().ok()?;
    let fine = typ == "typ"
        && transport.eq_ignore_ascii_case("udp")
        && matches!(kind, "host" | "srflx" | "prflx" | "relay")
        && matches!(component, "1" | "2")
        && priority.parse::<u32>().is_ok()
        && word(foundation)
        && foundation.len() <= 32
        && rest.iter().all(|w| word(w));
    fine.then_some(Candidate { foundation, component, priority, ip, port: port.parse().ok()?, kind, rest })
}

impl Candidate<'_> {
    /// The line anew, without the address behind the address.
    fn line(&self) -> String {
        let Self { foundation, component, priority, ip, port, kind, .. } = self;
        let mut line = format!("candidate:{foundation} {component} udp {priority} {ip} {port} typ {kind}");
        if *kind != "host" {
            let zero: IpAddr =
                if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            line.push_str(&format!(" raddr {zero} rport 0"));
        }
        for pair in self.rest.chunks(2) {
            if let [name @ ("generation" | "ufrag" | "network-id" | "network-cost"), value] = pair {
                // Networks by number say what kinds of interfaces there are.
                if !name.starts_with("network") {
                    line.push_str(&format!(" {name} {value}"));
                }
            }
        }
        line
    }
}

/// A candidate as it may be sent, if it may be. `hide`: only addresses of
/// relays.
#[must_use]
pub fn outgoing(line: &str, hide: bool) -> Option<String> {
    let candidate = parse(line)?;
    if (hide && candidate.kind != "relay") || !reachable(candidate.ip) {
        return None;
    }
    Some(candidate.line())
}

/// A candidate of the other side as it may be tried, if it may be.
#[must_use]
pub fn incoming(line: &str, own: &Own) -> Option<String> {
    let candidate = parse(line)?;
    let (ip, port) = (candidate.ip, candidate.port);
    (reachable(ip) && port >= PORT_MIN && !own.has(ip, port)).then(|| candidate.line())
}

/// Whether a packet to an address leaves for one other machine.
fn reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets()[0] == 0
                || ip.octets()[0] >= 240)
        }
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some() || ip.to_ipv4().is_some();
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || mapped)
        }
    }
}

/// A description in which only such candidates stand as `keep` lets through,
/// and no other address.
#[must_use]
pub fn clean_sdp(sdp: &str, keep: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        let clean;
        let line = if line.starts_with("a=candidate:") {
            let Some(kept) = keep(line) else { continue };
            clean = format!("a={kept}");
            &clean
        } else if line.starts_with("c=") {
            "c=IN IP4 0.0.0.0"
        } else if line.starts_with("a=rtcp:") {
            "a=rtcp:9 IN IP4 0.0.0.0"
        } else if line.starts_with("o=") {
            // Its last word is an address.
            clean = line.rsplit_once(' ').map_or("o=- 0 0 IN IP4", |(head, _)| head).to_owned() + " 0.0.0.0";
            &clean
        } else if line.starts_with("m=") {
            // The port of the default address.
            let mut words = line.splitn(3, ' ');
            let (media, _, rest) = (words.next(), words.next(), words.next());
            clean = format!("{} 9 {}", media.unwrap_or("m=audio"), rest.unwrap_or_default());
            &clean
        } else {
            line
        };
        out.push_str(line);
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:842163049 1 udp 1677729535 192.168.1.20 46154 typ host generation 0 ufrag Ab+/ network-id 2 network-cost 10";
    const SRFLX: &str = "candidate:1 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 192.168.1.20 rport 46154 generation 0";
    const RELAY: &str =
        "candidate:2 1 udp 41885439 198.51.100.4 50000 typ relay raddr 203.0.113.9 rport 46154";

    #[test]
    fn a_hidden_address_is_in_nothing_that_leaves() {
        // Without the policy it would be seen.
        assert!(outgoing(SRFLX, false).unwrap().contains("203.0.113.9"));
        assert!(outgoing(HOST, false).unwrap().contains("192.168.1.20"));
        assert_eq!(outgoing(HOST, true), None);
        assert_eq!(outgoing(SRFLX, true), None);
        let relay = outgoing(RELAY, true).unwrap();
        assert!(relay.contains("198.51.100.4 50000 typ relay raddr 0.0.0.0 rport 0"), "{relay}");
        let sdp = format!(
            "v=0\r\no=- 1 2 IN IP4 203.0.113.9\r\ns=-\r\nm=audio 46154 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 203.0.113.9\r\n\
             a=rtcp:46155 IN IP4 203.0.113.9\r\na={HOST}\r\na={SRFLX}\r\na={RELAY}\r\na=mid:0\r\n"
        );
        let clean = clean_sdp(&sdp, |line| outgoing(line, true));
        assert!(
            !clean.contains("203.0.113.9") && !clean.contains("192.168.1.20") && !clean.contains("46154")
        );
        assert!(clean.contains("198.51.100.4") && clean.contains("a=mid:0\r\n"));
        assert!(clean.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"));
    }

    #[test]
    fn what_stands_behind_an_address_is_not_told() {
        let line = outgoing(SRFLX, false).unwrap();
        assert!(!line.contains("192.168.1.20"), "{line}");
        let line = outgoing(HOST, false).unwrap();
        assert!(!line.contains("network") && line.contains("ufrag Ab+/"), "{line}");
    }

    #[test]
    fn nothing_leads_to_this_machine_or_to_a_service() {
        let own = Own::of(&["/ip4/192.168.1.5/udp/4001/quic-v1".into(), "/ip4/0.0.0.0/tcp/4002".into()]);
        let host = |ip: &str, port: u16| format!("candidate:1 1 udp 1 {ip} {port} typ host");
        assert!(incoming(&host("192.168.1.5", 50_000), &own).is_some());
        for (ip, port) in [
            ("192.168.1.5", 4001),
            ("10.0.0.9", 4002),
            ("192.168.1.9", 53),
            ("127.0.0.1", 50_000),
            ("127.8.8.8", 50_000),
            ("0.0.0.0", 50_000),
            ("169.254.1.1", 50_000),
            ("224.0.0.251", 5353),
            ("255.255.255.255", 50_000),
            ("::1", 50_000),
            ("::", 50_000),
            ("fe80::1", 50_000),
            ("ff02::fb", 5353),
            ("::ffff:127.0.0.1", 50_000),
            ("::ffff:192.0.2.1", 50_000),
            ("::127.0.0.1", 50_000),
            ("router.local", 50_000),
            ("localhost", 50_000),
        ] {
            assert_eq!(incoming(&host(ip, port), &own), None, "{ip} {port}");
        }
        assert!(incoming(&host("2001:db8::7", 50_000), &own).is_some());
        assert_eq!(incoming("candidate:1 1 tcp 1 192.168.1.9 9 typ host tcptype active", &own), None);
        assert_eq!(incoming("candidate:1 1 udp 1 192.168.1.9 99999 typ host", &own), None);
        assert_eq!(incoming("candidate:1 1 udp 1 192.168.1.9 5000 typ host\r\na=evil:1", &own), None);
        assert_eq!(incoming(&format!("{HOST} {}", "x ".repeat(400)), &own), None);
        assert_eq!(incoming("", &own), None);
    }
}
