//! Events (what people and devices say) and the envelope they travel in.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Decoder, Encode, Encoder};

use super::kinds;
use crate::cbor::{self, WireError};
use crate::ids::{self, DeviceId, EventId, GroupId, StateId};
use crate::object::{Versioned as _, object};
use crate::signed::{self, Raw};
use crate::{labels, limits};

/// The body of an event. Group id and state stand in front of it in the input
/// of signature and id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// [`kinds::EVENT`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Author.
    #[n(3)]
    pub device: DeviceId,
    /// 1, 2, 3, … per device and group.
    #[n(4)]
    pub seq: u64,
    /// The author's event before this one; none for the first.
    #[n(5)]
    pub prev: Option<EventId>,
    /// What the author had from others, changes since its last event.
    #[n(6)]
    pub deps: BTreeMap<DeviceId, u64>,
    /// Hybrid clock, ms << 16 | counter; for display only.
    #[n(7)]
    pub hlc: u64,
    /// Type of the content.
    #[n(8)]
    pub event_type: u16,
    /// The content, at most 64 KiB.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub content: Vec<u8>,
}

object! {
    Event: kinds::EVENT, fields [0, 1, 3, 4, 5, 6, 7, 8, 9],
    label labels::SIG_EVENT, check Self::bounds
}

impl Event {
    fn bounds(&self) -> Result<(), WireError> {
        if self.content.len() > limits::EVENT_BODY_BYTES_MAX {
            return Err(WireError::TooLarge("the message"));
        }
        if self.deps.len() > limits::DEVICES_PER_GROUP_MAX {
            return Err(WireError::TooLarge("the event's list of dependencies"));
        }
        if self.seq == 0 || (self.seq == 1) != self.prev.is_none() {
            return Err(WireError::Invalid("an event's number and its predecessor do not fit"));
        }
        Ok(())
    }
}

/// A signed event with the two ids that its signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEvent {
    /// Body and signature.
    pub raw: Raw,
    /// Group.
    pub gid: GroupId,
    /// State that it was written in: its audience.
    pub at: StateId,
}

impl SignedEvent {
    /// Signs an event for this group and state.
    #[must_use]
    pub fn sign(event: &Event, gid: GroupId, at: StateId, key: &SigningKey) -> Self {
        Self { raw: signed::sign(event, key, &[&gid.0, &at.0]), gid, at }
    }
    /// The event's id: the signature is not part of it.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId(ids::hash(labels::ID_EVENT, &[&self.gid.0, &self.at.0, &self.raw.body]))
    }
    /// Decodes the body and verifies its device's signature.
    pub fn verify(&self) -> Result<Event, WireError> {
        let event: Event = self.raw.body()?;
        self.verify_by(&event.device)?;
        Ok(event)
    }
    /// Verifies the signature of the device that the decoded body names.
    pub fn verify_by(&self, device: &DeviceId) -> Result<(), WireError> {
        self.raw.verify::<Event>(&device.0, &[&self.gid.0, &self.at.0])
    }
    /// The payload of an MLS message in state `envelope`: what the envelope
    /// says already is left out.
    #[must_use]
    pub fn to_payload(&self, envelope: StateId) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.body.len() + 112);
        let mut e = Encoder::new(&mut out);
        // Writing to a Vec cannot fail.
        let _infallible = (|| {
            e.array(if envelope == self.at { 2 } else { 3 })?.bytes(&self.raw.body)?.bytes(&self.raw.sig)?;
            if envelope != self.at {
                e.bytes(&self.at.0)?;
            }
            Ok::<(), minicbor::encode::Error<_>>(())
        })();
        out
    }
    /// Parses a payload found in an MLS message of `gid` in state `envelope`.
    pub fn from_payload(bytes: &[u8], gid: GroupId, envelope: StateId) -> Result<Self, WireError> {
        cbor::check_canonical(bytes)?;
        let mut d = Decoder::new(bytes);
        let n = d.array()?;
        let raw = Raw { body: d.bytes()?.to_vec(), sig: cbor::fixed(&mut d)? };
        let at = match n {
            Some(2) => envelope,
            // Left out where it is the envelope's: an event has one form here.
            Some(3) => match StateId(cbor::fixed(&mut d)?) {
                at if at == envelope => {
                    return Err(WireError::NotCanonical("the envelope's state is said again"));
                }
                at => at,
            },
            _ => return Err(WireError::Malformed("an event has two or three parts here".into())),
        };
        Ok(Self { raw, gid, at })
    }
    /// The event outside MLS: for streams whose far end has proven its device.
    #[must_use]
    pub fn to_bare(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.body.len() + 144);
        let mut e = Encoder::new(&mut out);
        // Writing to a Vec cannot fail.
        let _infallible = (|| {
            e.array(4)?.bytes(&self.raw.body)?.bytes(&self.raw.sig)?.bytes(&self.at.0)?.bytes(&self.gid.0)?;
            Ok::<(), minicbor::encode::Error<_>>(())
        })();
        out
    }
    /// Parses what [`SignedEvent::to_bare`] made.
    pub fn from_bare(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::check_canonical(bytes)?;
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(4) {
            return Err(WireError::Malformed("a bare event has four parts".into()));
        }
        let raw = Raw { body: d.bytes()?.to_vec(), sig: cbor::fixed(&mut d)? };
        Ok(Self { raw, at: StateId(cbor::fixed(&mut d)?), gid: GroupId(cbor::fixed(&mut d)?) })
    }
}

/// An encrypted event: not signed, MLS authenticates its sender.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EventEnvelope {
    /// [`kinds::EVENT_ENVELOPE`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// State whose keys open it.
    #[n(3)]
    pub state: StateId,
    /// MLS PrivateMessage (RFC 9420 6.3).
    #[cbor(n(4), with = "minicbor::bytes")]
    pub message: Vec<u8>,
}

object! { EventEnvelope: kinds::EVENT_ENVELOPE, fields [0, 1, 3, 4] }

impl EventEnvelope {
    /// Wraps a PrivateMessage.
    #[must_use]
    pub fn new(state: StateId, message: Vec<u8>) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, state, message }
    }
}
