//! Why a relay says no: stable codes, each with one sentence for a person.
//!
//! A relay sends code, limit and waiting time only; the sentence is made
//! here, so that no relay can put words on a person's screen.

use core::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};

macro_rules! codes {
    ($($(#[$m:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// A stable code of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$m])* $name,)*
            /// A code of a newer relay.
            Other(u16),
        }

        impl Code {
            /// All codes of this version.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// Its number on the wire.
            #[must_use]
            pub fn number(self) -> u16 {
                match self { $(Self::$name => $n,)* Self::Other(n) => n }
            }
            /// The code behind a number.
            #[must_use]
            pub fn from_number(n: u16) -> Self {
                match n { $($n => Self::$name,)* other => Self::Other(other) }
            }
            fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(_) => "the relay refused for a reason that this Kith does not know: update Kith",
                }
            }
        }
    };
}

codes! {
    /// The frame or a field is malformed.
    Malformed = 1, "the relay could not read the request: the two programs do not fit together, update both";
    /// No common protocol version.
    Version = 2, "this relay speaks another version of Kith's protocol: update Kith, or ask the relay's operator to update";
    /// A call before the greeting.
    NotGreeted = 3, "the relay expects a greeting before anything else";
    /// The admission token is missing or wrong.
    Admission = 4, "this relay is for members of its community: ask its operator for a current community link";
    /// The proof does not hold on this link.
    Proof = 5, "the relay did not accept the proof for this topic";
    /// The topic was not opened with the right that the call needs.
    NotOpen = 6, "the topic is not open for this on the connection to the relay";
    /// The id is not the hash of the bytes.
    WrongId = 7, "the id does not belong to the bytes";
    /// The size is no bucket, or over the limit.
    Size = 8, "the relay does not take objects of this size";
    /// The topic's bytes are used up.
    TopicFull = 9, "this conversation's space at the relay is full: it frees up as messages expire, other relays are used meanwhile";
    /// This sender's share of the topic is used up.
    ShareFull = 10, "your share of this conversation's space at the relay is used up: other relays are used meanwhile";
    /// The sender's bytes over all topics are used up.
    QuotaFull = 11, "your space at the relay is used up: it frees up as messages expire, other relays are used meanwhile";
    /// The relay's disk or its configured size is used up.
    RelayFull = 12, "the relay is full: tell its operator, other relays are used meanwhile";
    /// Too many calls or bytes in a short time.
    Rate = 13, "the relay is asked too much at once: Kith tries again by itself";
    /// Too many topics, watches or links.
    TooMany = 14, "the relay's limit for this is reached: close something, or use another relay";
    /// The delivery token is malformed or of another inbox.
    TokenInvalid = 15, "the permission to write to this person is not valid: ask them for a new contact link";
    /// The delivery token has ended.
    TokenExpired = 16, "the permission to write to this person has ended: it is renewed when you are next connected";
    /// The delivery token is used up at this relay.
    TokenUsed = 17, "the permission to write to this person is used up at this relay: it is renewed when you are next connected";
    /// The topic's mode does not allow the call.
    Mode = 18, "the topic is of another kind than this needs";
    /// The proof of work is missing or too small.
    Work = 19, "the relay wants a larger proof of work for a request to a stranger";
    /// The quota for requests without a token is used up.
    RequestsFull = 20, "this person's box for contact requests is full at the relay: try again later, or reach them in another way";
    /// No key package is left, not even the last-resort one.
    NoPackage = 21, "the relay holds nothing with which this person could be added while they are away: try again when they are online";
    /// The chunk is not here.
    NotFound = 22, "the relay does not have this any more";
    /// Writing failed at the relay.
    Storage = 23, "the relay could not store this: tell its operator, other relays are used meanwhile";
    /// The relay is stopping.
    Stopping = 24, "the relay is restarting: Kith tries again by itself";
    /// The wanted time to keep is zero or over the limit.
    Keep = 25, "the relay does not keep things for this long";
    /// The call is not offered by this relay.
    NotOffered = 26, "this relay does not offer this";
}

/// A refusal: what, which limit it met, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code.
    pub code: Code,
    /// The limit that was met, in the unit of the statement; 0 = none.
    pub limit: u64,
    /// Milliseconds until another try can help; 0 = as it is, never.
    pub retry_ms: u64,
}

impl Refusal {
    /// A refusal without limit that no waiting cures.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self { code, limit: 0, retry_ms: 0 }
    }
    /// With the limit that was met.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }
    /// With the time after which another try can help.
    #[must_use]
    pub fn retry_ms(self, retry_ms: u64) -> Self {
        Self { retry_ms, ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.sentence())?;
        match (self.limit, self.retry_ms.div_ceil(1000)) {
            (0, 0) => Ok(()),
            (limit, 0) => write!(f, " (limit: {limit})"),
            (0, s) => write!(f, " (again in {s} s)"),
            (limit, s) => write!(f, " (limit: {limit}, again in {s} s)"),
        }
    }
}

impl std::error::Error for Refusal {}

impl<C> Encode<C> for Refusal {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?.u16(self.code.number())?.u64(self.limit)?.u64(self.retry_ms)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Refusal {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(3) {
            return Err(minicbor::decode::Error::message("malformed refusal"));
        }
        Ok(Self { code: Code::from_number(d.u16()?), limit: d.u64()?, retry_ms: d.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_distinct() {
        let numbers: std::collections::BTreeSet<u16> = Code::ALL.iter().map(|c| c.number()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), *code);
        }
        assert_eq!(Code::from_number(999), Code::Other(999));
    }

    #[test]
    fn says_what_to_do() {
        let full = Refusal::of(Code::TopicFull).limit(100).retry_ms(1500);
        assert!(full.to_string().ends_with("(limit: 100, again in 2 s)"), "{full}");
        assert!(Refusal::of(Code::Other(7)).to_string().contains("update"));
    }
}
