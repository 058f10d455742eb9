//! The network of the lab: a server on the open internet, two homes behind a
//! router each and a carrier each, and how those translate addresses.
//!
//! ```text
//!   A ── homeA ── natA ──┐
//!                        wan ── S
//!   B ── homeB ── natB ──┘
//! ```

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};

use crate::lab::namespace::Namespace;

/// Addresses of the server: one for each of three relays.
pub(super) const SERVER: [&str; 3] = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];

/// How a home's addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FullCone,
    AddressRestricted,
    PortRestricted,
    Symmetric,
    /// Port-restricted for TCP; UDP does not leave the home.
    UdpBlocked,
    /// A router behind a carrier's, both port-restricted.
    Double,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::UdpBlocked,
        Self::Double,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp-blocked",
            Self::Double => "double",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|k| k.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("there is no NAT kind {text:?}: {}", Self::ALL.map(Self::name).join(", ")),
        }
    }
}

/// One home.
#[derive(Debug)]
pub(super) struct Home {
    /// Where its node lives.
    pub(super) host: Namespace,
    pub(super) router: Namespace,
    pub(super) carrier: Namespace,
    /// The address that the world sees.
    pub(super) outside: Ipv4Addr,
    inside: Ipv4Addr,
}

/// The whole network.
#[derive(Debug)]
pub(super) struct Street {
    pub(super) server: Namespace,
    pub(super) homes: [Home; 2],
    wan: Namespace,
}

/// What one direction of a home's traffic amounts to, in bytes, by far end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) peer_udp: u64,
    pub(super) peer_tcp: u64,
    pub(super) server: u64,
}

impl Street {
    pub(super) fn build() -> Result<Self> {
        let wan = Namespace::new("wan")?;
        wan.ip(&["link", "add", "br0", "type", "bridge"])?;
        wan.ip(&["link", "set", "br0", "up"])?;
        wan.ip(&["addr", "add", "198.51.100.254/24", "dev", "br0"])?;
        let server = Namespace::new("S")?;
        plug(&wan, &server, "pS", &format!("{}/24", SERVER[0]))?;
        for more in &SERVER[1..] {
            server.ip(&["addr", "add", &format!("{more}/24"), "dev", "wan"])?;
        }
        let a = home(&wan, "A", 1)?;
        let b = home(&wan, "B", 2)?;
        Ok(Self { server, homes: [a, b], wan })
    }

    /// A machine on the open internet that is nobody's.
    pub(super) fn echo(&self) -> &Namespace {
        &self.wan
    }

    /// Cuts or joins a home's cable to the internet.
    pub(super) fn cable(&self, home: usize, up: bool) -> Result<()> {
        let port = ["pA", "pB"].get(home).context("there are two homes")?;
        self.wan.ip(&["link", "set", port, if up { "up" } else { "down" }])
    }
}

fn plug(wan: &Namespace, ns: &Namespace, port: &str, address: &str) -> Result<()> {
    wan.cable((port, ""), (ns, "wan", address))?;
    wan.ip(&["link", "set", port, "master", "br0"])?;
    // Without a default route programs meet errors that no real host has.
    ns.ip(&["route", "add", "default", "via", "198.51.100.254"])
}

fn home(wan: &Namespace, name: &str, number: u8) -> Result<Home> {
    let (host, router, carrier) = (
        Namespace::new(name)?,
        Namespace::new(&format!("home{name}"))?,
        Namespace::new(&format!("nat{name}"))?,
    );
    let outside = Ipv4Addr::new(198, 51, 100, number * 10);
    let inside = Ipv4Addr::new(10, 0, number, 2);
    plug(wan, &carrier, &format!("p{name}"), &format!("{outside}/24"))?;
    carrier
        .cable(("lan", &format!("10.1.{number}.1/24")), (&router, "wan", &format!("10.1.{number}.2/24")))?;
    router.ip(&["route", "add", "default", "via", &format!("10.1.{number}.1")])?;
    carrier.ip(&["route", "add", &format!("10.0.{number}.0/24"), "via", &format!("10.1.{number}.2")])?;
    router.cable(("lan", &format!("10.0.{number}.1/24")), (&host, "eth0", &format!("{inside}/24")))?;
    host.ip(&["route", "add", "default", "via", &format!("10.0.{number}.1")])?;
    for ns in [&router, &carrier] {
        ns.sysctl("net.ipv4.ip_forward=1")?;
        ns.sysctl("net.netfilter.nf_conntrack_acct=1")?;
    }
    Ok(Home { host, router, carrier, outside, inside })
}

/// The rules of one translating machine between `lan` and `wan`.
fn rules(kind: Kind, host: Ipv4Addr) -> String {
    let (post, pre, forward) = match kind {
        Kind::FullCone => (
            "masquerade",
            format!("iifname \"wan\" meta l4proto {{ tcp, udp }} th dport 1024-65535 dnat to {host};"),
            "",
        ),
        Kind::AddressRestricted => (
            "masquerade",
            format!(
                "iifname \"wan\" ip saddr @seen meta l4proto {{ tcp, udp }} th dport 1024-65535 dnat to {host};"
            ),
            "",
        ),
        Kind::PortRestricted | Kind::Double => ("masquerade", String::new(), ""),
        Kind::Symmetric => ("masquerade fully-random", String::new(), ""),
        Kind::UdpBlocked => ("masquerade", String::new(), "meta l4proto udp drop;"),
    };
    format!(
        "table ip n {{
 set seen {{ type ipv4_addr; flags dynamic,timeout; timeout 300s; }}
 chain c_pre {{ type nat hook prerouting priority dstnat; {pre} }}
 chain c_post {{ type nat hook postrouting priority srcnat; oifname \"wan\" {post}; }}
 chain c_fwd {{ type filter hook forward priority filter; policy drop;
  {forward}
  iifname \"lan\" oifname \"wan\" update @seen {{ ip daddr }}
  ct state established,related accept
  ct status dnat accept
  iifname \"lan\" accept; }}
 chain c_in {{ type filter hook input priority filter; policy drop;
  ct state established,related accept
  iifname {{ \"lan\", \"lo\" }} accept; }}
}}"
    )
}

impl Home {
    /// From now on addresses are translated like this; what was is forgotten.
    pub(super) fn translate(&self, kind: Kind) -> Result<()> {
        self.carrier.nft(&rules(kind, self.inside))?;
        if kind == Kind::Double {
            self.router.nft(&rules(Kind::PortRestricted, self.inside))?;
        } else {
            // Counting needs a rule that looks.
            self.router.nft(
                "table ip n { chain c { type filter hook forward priority filter; ct state new accept; }; }",
            )?;
        }
        self.forget()
    }

    /// Forgets every translation, as a router that starts again.
    pub(super) fn forget(&self) -> Result<()> {
        for ns in [&self.carrier, &self.router] {
            ns.output("conntrack", &["-F"])?;
        }
        Ok(())
    }

    /// The world sees this home at another address from now on.
    pub(super) fn move_to(&mut self, outside: Ipv4Addr) -> Result<()> {
        self.carrier.ip(&["addr", "del", &format!("{}/24", self.outside), "dev", "wan"])?;
        self.carrier.ip(&["addr", "add", &format!("{outside}/24"), "dev", "wan"])?;
        self.carrier.ip(&["route", "replace", "default", "via", "198.51.100.254"])?;
        self.outside = outside;
        self.forget()
    }

    /// Drops UDP from now on.
    pub(super) fn drop_udp(&self) -> Result<()> {
        self.carrier
            .output("nft", &["insert", "rule", "ip", "n", "c_fwd", "meta", "l4proto", "udp", "drop"])
            .map(drop)
    }

    /// The bytes that have passed so far, as the carrier's machine counts
    /// them.
    pub(super) fn traffic(&self, other: &Home) -> Result<Traffic> {
        let table = self.carrier.output("conntrack", &["-L"])?;
        let mut traffic = Traffic::default();
        let peer = format!("={}", other.outside);
        for line in table.lines() {
            let bytes: u64 =
                line.split_whitespace().filter_map(|w| w.strip_prefix("bytes=")?.parse::<u64>().ok()).sum();
            let words: Vec<&str> = line.split_whitespace().collect();
            let of = |end: &str| {
                words.iter().any(|w| w.ends_with(end) && (w.starts_with("src") || w.starts_with("dst")))
            };
            if of(&peer) {
                match words.first() {
                    Some(&"tcp") => traffic.peer_tcp += bytes,
                    _ => traffic.peer_udp += bytes,
                }
            } else if SERVER.iter().any(|s| of(&format!("={s}"))) {
                traffic.server += bytes;
            }
        }
        Ok(traffic)
    }
}
