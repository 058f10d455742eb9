//! Call signalling: what devices of two accounts tell each other, inside a
//! group's events, to ring, to answer and to find a path for the media.
//!
//! Owns the shape and bounds of one signal, and what of a session description
//! may pass at all. One format serves every kind of call: a call, a leg of it
//! (one pair of devices), and a number that counts each device's signals.

use core::fmt;

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::ids::DeviceId;

/// Bytes of a session description at most.
pub const SDP_BYTES_MAX: usize = 24 << 10;
/// Lines of a session description at most.
pub const SDP_LINES_MAX: usize = 1_000;
/// Bytes of one candidate line at most.
pub const CANDIDATE_BYTES_MAX: usize = 512;
/// Candidates in one signal at most.
pub const CANDIDATES_PER_SIGNAL_MAX: usize = 16;

/// A call: 16 random bytes, chosen by the device that calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallId(pub [u8; 16]);

impl CallId {
    /// Lower-case hex, 32 characters.
    #[must_use]
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
    /// From 32 hex characters, else `None`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl<C> Encode<C> for CallId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for CallId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| minicbor::decode::Error::message("the id of a call has 16 bytes").at(at))
    }
}

/// Why a device has left a call, or does not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// Its person hung up.
    #[n(0)]
    HungUp,
    /// Its person does not want to take it.
    #[n(1)]
    Declined,
    /// It is in another call.
    #[n(2)]
    Busy,
    /// The path broke, or the page went away.
    #[n(3)]
    Lost,
    /// The key in use is not the one that came through the group.
    #[n(4)]
    WrongKey,
    /// The other one may not be in this call any more.
    #[n(5)]
    Removed,
}

/// What became of a call, as the device that called says it: the one verdict
/// that every other device takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// They talked.
    #[n(0)]
    Answered,
    /// Nobody answered in time.
    #[n(1)]
    Unanswered,
    /// Declined.
    #[n(2)]
    Declined,
    /// The other side was in another call.
    #[n(3)]
    Busy,
    /// Whoever called gave up before.
    #[n(4)]
    Cancelled,
    /// It was answered, and no path was found, or the caller went away.
    #[n(5)]
    Failed,
    /// Both called each other at once; this one gave way to the other call.
    #[n(6)]
    GaveWay,
}

/// What of oneself is being sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Media {
    /// The microphone is on.
    #[n(0)]
    pub microphone: bool,
    /// A camera or a screen is shown.
    #[n(1)]
    pub video: bool,
    /// What is shown is a screen.
    #[n(2)]
    pub screen: bool,
}

/// What one signal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// "I call": the caller's description. With `to`: a new description of a
    /// call that stands, to find another path.
    Offer {
        /// Session description.
        sdp: String,
        /// Begins with a picture.
        video: bool,
        /// The device that is called anew; none = rings everywhere.
        to: Option<DeviceId>,
    },
    /// "It rings here."
    Ringing,
    /// "I take it", or the answer to a new offer.
    Answer {
        /// Session description.
        sdp: String,
        /// Number of the offer that it answers.
        to_offer: u32,
    },
    /// The caller has taken the answer of this device; all others stop.
    Taken {
        /// Whose.
        device: DeviceId,
    },
    /// Further addresses.
    Candidates {
        /// Candidate lines (RFC 8839, `candidate:…`).
        lines: Vec<String>,
    },
    /// A device of the called account does not take it, or leaves.
    Leave {
        /// Why.
        reason: Reason,
    },
    /// The caller says that it is over, and what became of it.
    End {
        /// The verdict.
        outcome: Outcome,
        /// Why, where somebody left.
        reason: Reason,
        /// How long they talked, ms.
        talked_ms: u64,
    },
    /// What is sent now.
    Media(Media),
    /// The called device asks for a new offer: its path broke.
    Restart,
}

/// One signal of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The call.
    pub call: CallId,
    /// The pair of devices that it is about; 0 in a call of two people.
    pub leg: u16,
    /// Counts the signals of this device in this call, from 1.
    pub seq: u32,
    /// What it says.
    pub body: Body,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Raw {
    #[n(0)]
    call: CallId,
    #[n(1)]
    leg: u16,
    #[n(2)]
    seq: u32,
    #[n(3)]
    kind: u8,
    #[n(4)]
    sdp: Option<String>,
    #[n(5)]
    lines: Option<Vec<String>>,
    #[n(6)]
    device: Option<DeviceId>,
    #[n(7)]
    reason: Option<Reason>,
    #[n(8)]
    outcome: Option<Outcome>,
    #[n(9)]
    number: Option<u64>,
    #[n(10)]
    media: Option<Media>,
}

const OFFER: u8 = 1;
const RINGING: u8 = 2;
const ANSWER: u8 = 3;
const TAKEN: u8 = 4;
const CANDIDATES: u8 = 5;
const LEAVE: u8 = 6;
const END: u8 = 7;
const MEDIA: u8 = 8;
const RESTART: u8 = 9;

impl Signal {
    /// The content's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (call, leg, seq) = (self.call, self.leg, self.seq);
        let none = || Raw {
            call,
            leg,
            seq,
            kind: 0,
            sdp: None,
            lines: None,
            device: None,
            reason: None,
            outcome: None,
            number: None,
            media: None,
        };
        let raw = match &self.body {
            Body::Offer { sdp, video, to } => Raw {
                kind: OFFER,
                sdp: Some(sdp.clone()),
                device: *to,
                media: Some(Media { microphone: true, video: *video, screen: false }),
                ..none()
            },
            Body::Ringing => Raw { kind: RINGING, ..none() },
            Body::Answer { sdp, to_offer } => {
                Raw { kind: ANSWER, sdp: Some(sdp.clone()), number: Some((*to_offer).into()), ..none() }
            }
            Body::Taken { device } => Raw { kind: TAKEN, device: Some(*device), ..none() },
            Body::Candidates { lines } => Raw { kind: CANDIDATES, lines: Some(lines.clone()), ..none() },
            Body::Leave { reason } => Raw { kind: LEAVE, reason: Some(*reason), ..none() },
            Body::End { outcome, reason, talked_ms } => Raw {
                kind: END,
                reason: Some(*reason),
                outcome: Some(*outcome),
                number: Some(*talked_ms),
                ..none()
            },
            Body::Media(media) => Raw { kind: MEDIA, media: Some(*media), ..none() },
            Body::Restart => Raw { kind: RESTART, ..none() },
        };
        cbor::encode(&raw)
    }

    /// Parses and bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: Raw = cbor::decode(bytes, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])?;
        let missing = || WireError::Invalid("a call signal lacks what its kind needs");
        let body = match raw.kind {
            OFFER => Body::Offer {
                sdp: checked_sdp(raw.sdp.ok_or_else(missing)?)?,
                video: raw.media.ok_or_else(missing)?.video,
                to: raw.device,
            },
            RINGING => Body::Ringing,
            ANSWER => Body::Answer {
                sdp: checked_sdp(raw.sdp.ok_or_else(missing)?)?,
                to_offer: u32::try_from(raw.number.ok_or_else(missing)?)
                    .map_err(|_| WireError::TooLarge("the number of an offer"))?,
            },
            TAKEN => Body::Taken { device: raw.device.ok_or_else(missing)? },
            CANDIDATES => {
                let lines = raw.lines.ok_or_else(missing)?;
                if lines.len() > CANDIDATES_PER_SIGNAL_MAX
                    || lines.iter().any(|line| line.len() > CANDIDATE_BYTES_MAX)
                {
                    return Err(WireError::TooLarge("a list of candidates"));
                }
                Body::Candidates { lines }
            }
            LEAVE => Body::Leave { reason: raw.reason.ok_or_else(missing)? },
            END => Body::End {
                outcome: raw.outcome.ok_or_else(missing)?,
                reason: raw.reason.ok_or_else(missing)?,
                talked_ms: raw.number.ok_or_else(missing)?,
            },
            MEDIA => Body::Media(raw.media.ok_or_else(missing)?),
            RESTART => Body::Restart,
            _ => return Err(WireError::Invalid("a call signal of an unknown kind: it needs a newer Kith")),
        };
        Ok(Self { call: raw.call, leg: raw.leg, seq: raw.seq, body })
    }
}

/// A description within its bounds, with exactly one DTLS key.
fn checked_sdp(sdp: String) -> Result<String, WireError> {
    check_sdp(&sdp)?;
    Ok(sdp)
}

/// Whether a session description may pass: printable, bounded, and every part
/// of it under one and the same DTLS key, named by SHA-256.
pub fn check_sdp(sdp: &str) -> Result<(), WireError> {
    if sdp.len() > SDP_BYTES_MAX || sdp.lines().count() > SDP_LINES_MAX {
        return Err(WireError::TooLarge("a session description"));
    }
    if !sdp.starts_with("v=0") || sdp.chars().any(|c| c.is_control() && c != '\r' && c != '\n') {
        return Err(WireError::Invalid("a session description is malformed"));
    }
    if fingerprint(sdp).is_none() {
        return Err(WireError::Invalid("a session description does not name exactly one key by SHA-256"));
    }
    Ok(())
}

/// The one DTLS fingerprint of a description: 64 upper-case hex digits with
/// colons between the bytes. None: there is none, or there are several.
#[must_use]
pub fn fingerprint(sdp: &str) -> Option<String> {
    let mut found: Option<String> = None;
    for line in sdp.lines() {
        let Some(value) = line.strip_prefix("a=fingerprint:") else { continue };
        let (hash, digits) = value.trim().split_once(' ')?;
        let digits = digits.trim().to_ascii_uppercase();
        let plain = digits.replace(':', "");
        if !hash.eq_ignore_ascii_case("sha-256")
            || digits.len() != 95
            || plain.len() != 64
            || !plain.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return None;
        }
        match &found {
            Some(before) if *before != digits => return None,
            _ => found = Some(digits),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A description with this key.
    fn sdp(byte: u8) -> String {
        let hex = vec![format!("{byte:02X}"); 32].join(":");
        format!(
            "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=fingerprint:sha-256 {hex}\r\n"
        )
    }

    fn bodies() -> Vec<Body> {
        vec![
            Body::Offer { sdp: sdp(1), video: true, to: None },
            Body::Offer { sdp: sdp(1), video: false, to: Some(DeviceId([3; 32])) },
            Body::Ringing,
            Body::Answer { sdp: sdp(2), to_offer: 7 },
            Body::Taken { device: DeviceId([9; 32]) },
            Body::Candidates { lines: vec!["candidate:1 1 udp 1 192.0.2.1 5000 typ host".into()] },
            Body::Leave { reason: Reason::Busy },
            Body::End { outcome: Outcome::Answered, reason: Reason::HungUp, talked_ms: 12_000 },
            Body::Media(Media { microphone: false, video: true, screen: true }),
            Body::Restart,
        ]
    }

    #[test]
    fn signals_round_trip() {
        for (seq, body) in (1..).zip(bodies()) {
            let signal = Signal { call: CallId([5; 16]), leg: 0, seq, body };
            assert_eq!(Signal::from_bytes(&signal.to_bytes()), Ok(signal));
        }
    }

    #[test]
    fn what_is_too_much_or_wrong_is_refused() {
        let wrong =
            |body| Signal::from_bytes(&Signal { call: CallId([5; 16]), leg: 0, seq: 1, body }.to_bytes());
        let offer = |sdp: String| Body::Offer { sdp, video: false, to: None };
        assert!(wrong(offer(sdp(1))).is_ok());
        assert!(wrong(offer(format!("{}a={}", sdp(1), "x".repeat(SDP_BYTES_MAX)))).is_err());
        assert!(wrong(offer(format!("{}{}", sdp(1), "a=x\r\n".repeat(SDP_LINES_MAX)))).is_err());
        assert!(wrong(offer("v=0\r\nm=audio\r\n".into())).is_err(), "no key");
        assert!(wrong(offer(format!("{}{}", sdp(1), sdp(2)))).is_err(), "two keys");
        assert!(wrong(offer(format!("{}{}", sdp(1), sdp(1)))).is_ok(), "one key twice");
        assert!(wrong(offer(sdp(1).replace("sha-256", "sha-1"))).is_err());
        assert!(wrong(offer(format!("{}\0", sdp(1)))).is_err());
        assert!(wrong(offer(format!("x{}", sdp(1)))).is_err());
        let many = vec!["candidate:1".to_owned(); CANDIDATES_PER_SIGNAL_MAX + 1];
        assert!(wrong(Body::Candidates { lines: many }).is_err());
        assert!(wrong(Body::Candidates { lines: vec!["x".repeat(CANDIDATE_BYTES_MAX + 1)] }).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..200) {
            let _any = Signal::from_bytes(&bytes);
            for body in bodies() {
                let mut whole = Signal { call: CallId([1; 16]), leg: 0, seq: 1, body }.to_bytes();
                let at = cut % whole.len();
                if let Some(byte) = whole.get_mut(at) {
                    *byte ^= bytes.first().copied().unwrap_or(1) | 1;
                }
                let _any = Signal::from_bytes(&whole);
                let _any = Signal::from_bytes(whole.get(..at).unwrap_or_default());
            }
        }
    }
}
