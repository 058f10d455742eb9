//! STUN's messages and TURN's channel data: parsing and building.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use subtle::ConstantTimeEq as _;

use super::credentials::hmac_sha1;

const COOKIE: u32 = 0x2112_A442;
const COOKIE_BYTES: [u8; 4] = COOKIE.to_be_bytes();
const HEAD: usize = 20;
/// Attributes of one message that are looked at; with more it is malformed.
const ATTRIBUTES_MAX: usize = 32;
/// The largest message or channel data over TCP, padding included.
pub const FRAME_BYTES_MAX: usize = HEAD + 0x1_0000 + 4;

pub(super) mod method {
    pub(in crate::turn) const BINDING: u16 = 1;
    pub(in crate::turn) const ALLOCATE: u16 = 3;
    pub(in crate::turn) const REFRESH: u16 = 4;
    pub(in crate::turn) const SEND: u16 = 6;
    pub(in crate::turn) const DATA: u16 = 7;
    pub(in crate::turn) const CREATE_PERMISSION: u16 = 8;
    pub(in crate::turn) const CHANNEL_BIND: u16 = 9;
}

pub(super) mod attr {
    pub(in crate::turn) const USERNAME: u16 = 0x0006;
    pub(in crate::turn) const INTEGRITY: u16 = 0x0008;
    pub(in crate::turn) const ERROR: u16 = 0x0009;
    pub(in crate::turn) const UNKNOWN: u16 = 0x000A;
    pub(in crate::turn) const CHANNEL: u16 = 0x000C;
    pub(in crate::turn) const LIFETIME: u16 = 0x000D;
    pub(in crate::turn) const PEER: u16 = 0x0012;
    pub(in crate::turn) const DATA: u16 = 0x0013;
    pub(in crate::turn) const REALM: u16 = 0x0014;
    pub(in crate::turn) const NONCE: u16 = 0x0015;
    pub(in crate::turn) const RELAYED: u16 = 0x0016;
    pub(in crate::turn) const FAMILY: u16 = 0x0017;
    pub(in crate::turn) const EVEN_PORT: u16 = 0x0018;
    pub(in crate::turn) const TRANSPORT: u16 = 0x0019;
    pub(in crate::turn) const MAPPED: u16 = 0x0020;
    pub(in crate::turn) const SOFTWARE: u16 = 0x8022;
    pub(in crate::turn) const FINGERPRINT: u16 = 0x8028;
    /// Those below 0x8000 that have to be understood, and are.
    pub(in crate::turn) const KNOWN: &[u16] =
        &[USERNAME, INTEGRITY, CHANNEL, LIFETIME, PEER, DATA, REALM, NONCE, FAMILY, EVEN_PORT, TRANSPORT];
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// One message, borrowed.
#[derive(Debug)]
pub(super) struct Message<'a> {
    raw: &'a [u8],
    pub(super) class: Class,
    pub(super) method: u16,
    attributes: Vec<(u16, &'a [u8])>,
    /// Where the integrity attribute starts.
    integrity: Option<usize>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Bytes that are neither a STUN message nor channel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoFrame;

/// The length of the message or channel data that starts here, padding
/// included, as TCP carries it; `None`: more bytes are needed.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, NoFrame> {
    let (Some(first), Some(len)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else {
        return match bytes.first() {
            Some(b) if b >> 6 > 1 => Err(NoFrame),
            _ => Ok(None),
        };
    };
    match first >> 14 {
        0 if len % 4 == 0 => Ok(Some(HEAD + usize::from(len))),
        1 => Ok(Some((4 + usize::from(len)).next_multiple_of(4))),
        _ => Err(NoFrame),
    }
}

/// Channel number and data, if it is channel data.
pub(super) fn channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let channel = u16_at(bytes, 0)?;
    let len = usize::from(u16_at(bytes, 2)?);
    (channel >> 14 == 1).then_some((channel, bytes.get(4..4 + len)?))
}

impl<'a> Message<'a> {
    /// `None` unless it is a well-formed message.
    pub(super) fn parse(raw: &'a [u8]) -> Option<Self> {
        let kind = u16_at(raw, 0)?;
        let len = usize::from(u16_at(raw, 2)?);
        if kind >> 14 != 0 || raw.get(4..8)? != COOKIE_BYTES || raw.len() != HEAD + len || len % 4 != 0 {
            return None;
        }
        let class = match (kind >> 4 & 1) | (kind >> 7 & 2) {
            0 => Class::Request,
            1 => Class::Indication,
            2 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0xF) | (kind >> 1 & 0x70) | (kind >> 2 & 0xF80);
        let mut message = Self { raw, class, method, attributes: Vec::new(), integrity: None };
        let mut at = HEAD;
        while at < raw.len() {
            let kind = u16_at(raw, at)?;
            let len = usize::from(u16_at(raw, at + 2)?);
            let value = raw.get(at + 4..at + 4 + len)?;
            if kind == attr::FINGERPRINT {
                let expected = crc32(raw.get(..at)?) ^ 0x5354_554E;
                if value != expected.to_be_bytes() {
                    return None;
                }
            } else if message.integrity.is_none() {
                if message.attributes.len() >= ATTRIBUTES_MAX {
                    return None;
                }
                if kind == attr::INTEGRITY {
                    message.integrity = Some(at);
                }
                message.attributes.push((kind, value));
            }
            at += 4 + len.next_multiple_of(4);
        }
        Some(message)
    }

    /// The first attribute of a kind.
    pub(super) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.all(kind).next()
    }
    pub(super) fn all(&self, kind: u16) -> impl Iterator<Item = &'a [u8]> {
        self.attributes.iter().filter(move |(k, _)| *k == kind).map(|(_, v)| *v)
    }
    pub(super) fn text(&self, kind: u16) -> Option<&'a str> {
        core::str::from_utf8(self.get(kind)?).ok()
    }
    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
    pub(super) fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }
    /// Attributes that would have to be understood, and are not.
    pub(super) fn unknown(&self) -> Vec<u16> {
        let strange = |k: &u16| *k < 0x8000 && !attr::KNOWN.contains(k);
        self.attributes.iter().map(|(k, _)| *k).filter(strange).collect()
    }
    /// All addresses of a kind (XOR-ed), `None` if one is malformed.
    pub(super) fn addresses(&self, kind: u16) -> Option<Vec<SocketAddr>> {
        self.all(kind).map(|value| self.address(value)).collect()
    }
    fn address(&self, value: &[u8]) -> Option<SocketAddr> {
        let port = u16_at(value, 2)? ^ (COOKIE >> 16) as u16;
        let mask = self.raw.get(4..HEAD)?;
        let ip: Vec<u8> = value.get(4..)?.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
            (2, 20) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip.to_canonical(), port))
    }
    /// Whether its integrity attribute was made with this key.
    pub(super) fn is_signed(&self, key: &[u8]) -> bool {
        let Some((at, value)) = self.integrity.zip(self.get(attr::INTEGRITY)) else { return false };
        let Some((head, body)) = self.raw.get(..at).and_then(|r| r.split_at_checked(4)) else { return false };
        let len = u16::try_from(at + 24 - HEAD).unwrap_or(0).to_be_bytes();
        let Some(kind) = head.get(..2) else { return false };
        hmac_sha1(key, &[kind, &len, body]).as_slice().ct_eq(value).into()
    }
    /// The transaction.
    pub(super) fn tx(&self) -> [u8; 12] {
        self.raw.get(8..HEAD).and_then(|t| t.try_into().ok()).unwrap_or_default()
    }
    /// Starts the answer of this class.
    pub(super) fn answer(&self, class: Class) -> Builder {
        Builder::new(class, self.method, self.tx())
    }
}

/// A message being built.
pub(super) struct Builder(Vec<u8>);

impl Builder {
    pub(super) fn new(class: Class, method: u16, tx: [u8; 12]) -> Self {
        let bits = match class {
            Class::Request => 0,
            Class::Indication => 0x10,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let kind = (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2 | bits;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(COOKIE_BYTES);
        bytes.extend(tx);
        Self(bytes)
    }
    /// Adds an attribute. Values are short, or datagrams.
    pub(super) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(value.len()).unwrap_or(0);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(len.to_be_bytes());
        self.0.extend(value.get(..usize::from(len)).unwrap_or_default());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
    pub(super) fn address(self, kind: u16, at: SocketAddr) -> Self {
        let mut value = vec![0, if at.is_ipv4() { 1 } else { 2 }];
        value.extend((at.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
        let ip = match at.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let mask = self.0.get(4..HEAD).unwrap_or_default();
        value.extend(ip.iter().zip(mask).map(|(a, b)| a ^ b));
        self.put(kind, &value)
    }
    pub(super) fn error(self, code: u16, reason: &str) -> Self {
        let digits = [0, 0, (code / 100).to_be_bytes()[1], (code % 100).to_be_bytes()[1]];
        self.put(attr::ERROR, &[&digits[..], reason.as_bytes()].concat())
    }
    fn set_len(&mut self, extra: usize) {
        let len = u16::try_from(self.0.len() - HEAD + extra).unwrap_or(0).to_be_bytes();
        if let Some(at) = self.0.get_mut(2..4) {
            at.copy_from_slice(&len);
        }
    }
    /// Ends it; signed if a key is given.
    pub(super) fn finish(mut self, key: Option<&[u8]>) -> Vec<u8> {
        if let Some(key) = key {
            self.set_len(24);
            let mac = hmac_sha1(key, &[&self.0]);
            self = self.put(attr::INTEGRITY, &mac);
        }
        self.set_len(8);
        let fingerprint = crc32(&self.0) ^ 0x5354_554E;
        self.put(attr::FINGERPRINT, &fingerprint.to_be_bytes()).0
    }
    /// Ends an indication, whose bytes are few and many of which there are.
    pub(super) fn bare(mut self) -> Vec<u8> {
        self.set_len(0);
        self.0
    }
}

/// Channel data; padded as TCP wants it.
pub(super) fn channel_frame(channel: u16, data: &[u8], padded: bool) -> Vec<u8> {
    let mut frame = Vec::with_capacity(data.len() + 8);
    frame.extend(channel.to_be_bytes());
    frame.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    frame.extend(data);
    if padded {
        frame.resize(frame.len().next_multiple_of(4), 0);
    }
    frame
}

/// CRC-32 of IEEE 802.3, bit by bit: messages are short and few.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769, section 2.1: request with short-term key, fingerprint.
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5\
        b2d3f249c1b571a280280004e57a3bcf";
    /// RFC 5769, section 2.2: the answer to it, IPv4.
    const ANSWER: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
        002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

    fn bytes(hex: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(hex.replace(char::is_whitespace, "").as_bytes()).unwrap()
    }

    #[test]
    fn reads_the_samples_of_the_standard() {
        let raw = bytes(SAMPLE);
        let m = Message::parse(&raw).unwrap();
        assert_eq!((m.class, m.method), (Class::Request, method::BINDING));
        assert_eq!(m.text(attr::USERNAME), Some("evtj:h6vY"));
        assert!(m.is_signed(b"VOkJxbRl1RmTxUk/WvJxBt") && !m.is_signed(b"VOkJxbRl1RmTxUk/WvJxBu"));
        assert_eq!(m.unknown(), [0x24]);
        let raw = bytes(ANSWER);
        let m = Message::parse(&raw).unwrap();
        assert_eq!(m.addresses(attr::MAPPED).unwrap(), ["192.0.2.1:32853".parse().unwrap()]);
        assert!(m.is_signed(b"VOkJxbRl1RmTxUk/WvJxBt"));
        let mut bent = bytes(ANSWER);
        bent[30] ^= 1;
        assert!(Message::parse(&bent).is_none(), "the fingerprint is checked");
    }

    #[test]
    fn what_is_built_is_read() {
        for at in ["192.0.2.1:5", "[2001:db8::1]:65535"] {
            let at: SocketAddr = at.parse().unwrap();
            let raw = Builder::new(Class::Success, method::ALLOCATE, [7; 12])
                .address(attr::RELAYED, at)
                .put(attr::SOFTWARE, b"abc")
                .finish(Some(b"key"));
            let m = Message::parse(&raw).unwrap();
            assert_eq!((m.class, m.method), (Class::Success, method::ALLOCATE));
            assert_eq!(m.addresses(attr::RELAYED).unwrap(), [at]);
            assert!(m.is_signed(b"key"));
            assert_eq!(frame_len(&raw), Ok(Some(raw.len())));
        }
        let frame = channel_frame(0x4001, b"hello", true);
        assert_eq!((frame.len(), frame_len(&frame)), (12, Ok(Some(12))));
        assert_eq!(channel_data(&frame), Some((0x4001, &b"hello"[..])));
        assert_eq!(frame_len(&[0x40]), Ok(None));
        assert_eq!(frame_len(&[0x80]), Err(NoFrame));
        assert_eq!(frame_len(&[0, 1, 0, 3]), Err(NoFrame));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200),
                              at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let _ = (Message::parse(&noise), frame_len(&noise), channel_data(&noise));
            let mut bent = bytes(SAMPLE);
            let at = at.index(bent.len());
            bent[at] ^= 1 << bit;
            if let Some(m) = Message::parse(&bent) {
                let _ = (m.is_signed(b"x"), m.addresses(attr::PEER), m.unknown());
            }
        }
    }
}
