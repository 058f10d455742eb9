//! Addresses and relay hints in the few bytes that a QR code has room for.
//!
//! The usual multiaddrs become a handful of bytes; any other stays text. One
//! address has exactly one form, so a link has exactly one encoding.

use core::net::{Ipv4Addr, Ipv6Addr};

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::identity::RelayHint;
use crate::ids::RelayId;

const IP4: u8 = 1;
const IP6: u8 = 2;
const DNS: u8 = 3;
const DNS4: u8 = 4;
const DNS6: u8 = 5;
const UDP: u8 = 6;
const TCP: u8 = 7;
const QUIC: u8 = 8;

/// A multiaddr whose encoding is packed where that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addr(pub(super) String);

fn pack(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut parts = text.strip_prefix('/')?.split('/');
    while let Some(protocol) = parts.next() {
        match protocol {
            "ip4" => {
                out.push(IP4);
                out.extend(parts.next()?.parse::<Ipv4Addr>().ok()?.octets());
            }
            "ip6" => {
                out.push(IP6);
                out.extend(parts.next()?.parse::<Ipv6Addr>().ok()?.octets());
            }
            "dns" | "dns4" | "dns6" => {
                out.push(match protocol {
                    "dns" => DNS,
                    "dns4" => DNS4,
                    _ => DNS6,
                });
                let name = parts.next()?;
                out.push(u8::try_from(name.len()).ok()?);
                out.extend(name.as_bytes());
            }
            "udp" | "tcp" => {
                out.push(if protocol == "udp" { UDP } else { TCP });
                out.extend(parts.next()?.parse::<u16>().ok()?.to_be_bytes());
            }
            "quic-v1" => out.push(QUIC),
            _ => return None,
        }
    }
    // What does not come back letter by letter (leading zeros, upper case) stays text.
    (unpack(&out).as_deref() == Some(text)).then_some(out)
}

fn unpack(mut bytes: &[u8]) -> Option<String> {
    let mut out = String::new();
    while let Some((code, rest)) = bytes.split_first() {
        bytes = match *code {
            IP4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                out.push_str(&format!("/ip4/{}", Ipv4Addr::from(*ip)));
                rest
            }
            IP6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                out.push_str(&format!("/ip6/{}", Ipv6Addr::from(*ip)));
                rest
            }
            DNS | DNS4 | DNS6 => {
                let (len, rest) = rest.split_first()?;
                let (name, rest) = rest.split_at_checked(usize::from(*len))?;
                let name = core::str::from_utf8(name).ok()?;
                let protocol = match *code {
                    DNS => "dns",
                    DNS4 => "dns4",
                    _ => "dns6",
                };
                out.push_str(&format!("/{protocol}/{name}"));
                rest
            }
            UDP | TCP => {
                let (port, rest) = rest.split_first_chunk::<2>()?;
                let protocol = if *code == UDP { "udp" } else { "tcp" };
                out.push_str(&format!("/{protocol}/{}", u16::from_be_bytes(*port)));
                rest
            }
            QUIC => {
                out.push_str("/quic-v1");
                rest
            }
            _ => return None,
        };
    }
    (!out.is_empty()).then_some(out)
}

impl<C> Encode<C> for Addr {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match pack(&self.0) {
            Some(packed) => e.bytes(&packed)?.ok(),
            None => e.str(&self.0)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Addr {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("an address is malformed");
        let (text, packed) = match d.datatype()? {
            Type::Bytes => {
                let bytes = d.bytes()?;
                (unpack(bytes).ok_or_else(wrong)?, Some(bytes))
            }
            _ => (d.str()?.to_owned(), None),
        };
        if pack(&text).as_deref() != packed {
            return Err(wrong());
        }
        Ok(Self(text))
    }
}

/// A [`RelayHint`] with packed addresses.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct PackedRelay {
    #[n(0)]
    id: RelayId,
    #[n(1)]
    name: String,
    #[n(2)]
    addrs: Vec<Addr>,
}

impl From<&RelayHint> for PackedRelay {
    fn from(hint: &RelayHint) -> Self {
        Self { id: hint.id, name: hint.name.clone(), addrs: hint.addrs.iter().cloned().map(Addr).collect() }
    }
}

impl From<&PackedRelay> for RelayHint {
    fn from(packed: &PackedRelay) -> Self {
        let addrs = packed.addrs.iter().map(|a| a.0.clone()).collect();
        Self { id: packed.id, name: packed.name.clone(), addrs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use proptest::prelude::*;

    #[test]
    fn usual_addresses_become_small_and_come_back() {
        for (text, len) in [
            ("/ip4/192.168.1.23/udp/40123/quic-v1", 9),
            ("/ip4/203.0.113.9/tcp/4001", 8),
            ("/ip6/2001:db8::1/udp/4001/quic-v1", 21),
            ("/dns4/relay.example/udp/4001/quic-v1", 19),
        ] {
            assert_eq!(pack(text).unwrap().len(), len, "{text}");
            assert_eq!(unpack(&pack(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn other_addresses_stay_text() {
        for text in [
            "/ip4/192.168.001.023/tcp/1",
            "/ip4/1.2.3.4/tcp/080",
            "/memory/7",
            "/ip6/::0/tcp/1",
            "hello",
            "",
            "/",
        ] {
            let bytes = cbor::encode(&Addr(text.into()));
            assert_eq!(bytes[0] >> 5, 3, "{text}");
            assert_eq!(cbor::decode::<Addr>(&bytes, &[]).unwrap().0, text);
        }
    }

    #[test]
    fn an_address_has_one_form() {
        // Text for what could be packed, and packed bytes of nothing.
        let text = cbor::encode(&String::from("/ip4/1.2.3.4/tcp/1"));
        assert!(cbor::decode::<Addr>(&text, &[]).is_err());
        assert!(cbor::decode::<Addr>(&[0x40], &[]).is_err());
        assert!(cbor::decode::<Addr>(&[0x42, DNS, 200], &[]).is_err());
        // A packed DNS name with a slash would read back as another address.
        assert!(cbor::decode::<Addr>(&[0x45, DNS, 3, b'a', b'/', b'b'], &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_round_trips(text in "\\PC{0,60}") {
            let addr = Addr(text);
            prop_assert_eq!(&cbor::decode::<Addr>(&cbor::encode(&addr), &[]).unwrap(), &addr);
        }

        #[test]
        fn any_socket_address_round_trips(ip: [u8; 16], v4: [u8; 4], port: u16) {
            for text in [
                format!("/ip6/{}/udp/{port}/quic-v1", Ipv6Addr::from(ip)),
                format!("/ip4/{}/tcp/{port}", Ipv4Addr::from(v4)),
            ] {
                prop_assert!(pack(&text).is_some());
                let addr = Addr(text);
                prop_assert_eq!(&cbor::decode::<Addr>(&cbor::encode(&addr), &[]).unwrap(), &addr);
            }
        }
    }
}
