//! `/kith/log/1`: what a node and a relay say to each other.
//!
//! Every frame is one canonical CBOR item. The relay speaks first, with
//! [`ServerFrame::Hello`]; the client's first call is [`Call::Hello`]. Calls
//! are pipelined: each carries a number that its answer or refusal repeats,
//! and the relay handles those of one link in order. Must never name
//! anything but topics, entries, tokens and bytes: that is all a relay knows.

mod answer;
mod call;
mod community;
mod records;
mod refusal;
mod work;

pub use answer::{Answer, Entry, Numbered, Push, ServerFrame, Turn};
pub use call::{Call, ClientFrame, Watch, frame_number};
pub(crate) use community::SCHEME;
pub use community::{CommunityLink, CommunityLinkError};
pub use records::{Evicted, PACKAGE_RECORD_BYTES_MAX, PackageRecord, Receipt, Statement, evicted};
pub use refusal::{Code, Refusal};
pub use work::{WORK_BITS_MAX, work_holds};

use minicbor::{Decode, Encode};

use crate::cbor::{self, WireError};
use crate::limits;

/// The lowest and highest version of this protocol spoken here.
pub const VERSIONS: (u16, u16) = (1, 1);
/// Topics in one [`Call::Watch`] or [`Call::Unwatch`].
pub const WATCH_TOPICS_MAX: usize = 256;
/// Ids in one [`Call::Want`] or [`Answer::Ids`].
pub const IDS_MAX: usize = 4096;
/// Bytes of entries in one answer: leaves room for one frame's heads.
pub const ANSWER_BYTES_MAX: usize = limits::FRAME_BYTES_MAX - (64 << 10);
/// Credit that a link can have for live entries, in bytes: what is on its way
/// unread stays well below what the overlay lets wait on one link.
pub const CREDIT_MAX: u64 = 2 << 20;
/// What an entry takes of the credit at least, in bytes: frames count too.
const CREDIT_COST_MIN: u64 = 4 << 10;
/// Key package records in one [`Call::PutPackages`].
pub const PACKAGES_PER_CALL_MAX: usize = 64;
/// The largest sealed chunk, in bytes.
pub const CHUNK_BYTES_MAX: usize = limits::BLOB_CHUNK_BYTES + 16;

/// A byte string in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Bytes(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

macro_rules! frame {
    ($name:ident) => {
        impl $name {
            /// The frame's bytes.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                cbor::encode(self)
            }
            /// Parses one frame, which must be canonical and fill the bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
                if bytes.len() > limits::FRAME_BYTES_MAX {
                    return Err(WireError::TooLarge("the frame"));
                }
                cbor::decode(bytes, &[])
            }
        }
    };
}
frame!(ClientFrame);
frame!(ServerFrame);

/// What one pushed entry takes of the credit, and gives back when the client
/// has read it.
#[must_use]
pub fn credit_cost(entry_bytes: usize) -> u64 {
    CREDIT_COST_MIN.max(entry_bytes as u64)
}

/// The version that both ranges have, the highest one.
#[must_use]
pub fn common_version(theirs: (u16, u16)) -> Option<u16> {
    let version = VERSIONS.1.min(theirs.1);
    (version >= VERSIONS.0.max(theirs.0)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BlobId, EntryId, TopicId};
    use crate::topic::{Descriptor, Mode, Right};
    use proptest::prelude::*;

    fn calls() -> impl Strategy<Value = Call> {
        let id = any::<[u8; 32]>();
        let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
        let sig =
            || proptest::array::uniform32(any::<u8>()).prop_map(|a| [a, a].concat().try_into().unwrap());
        let descriptor = || {
            (any::<[u8; 32]>(), any::<bool>()).prop_map(|(k, inbox)| Descriptor {
                read_pub: k,
                write_pub: k,
                mode: if inbox { Mode::Inbox } else { Mode::Group },
            })
        };
        prop_oneof![
            (any::<u16>(), any::<u16>(), bytes()).prop_map(|(lowest, highest, admission)| Call::Hello {
                lowest,
                highest,
                admission
            }),
            Just(Call::Statement {}),
            Just(Call::Turn {}),
            (descriptor(), sig()).prop_map(|(descriptor, proof)| Call::Open {
                descriptor,
                right: Right::Write,
                proof
            }),
            (id, bytes(), any::<u64>()).prop_map(|(t, b, keep_s)| Call::append(TopicId(t), b, keep_s)),
            (descriptor(), bytes(), sig(), bytes()).prop_map(|(inbox, token, proof, bytes)| {
                Call::Deliver { inbox, token, proof, id: EntryId::of(&bytes), bytes, keep_s: 5 }
            }),
            (id, any::<u64>(), any::<u64>()).prop_map(|(t, after, max_bytes)| Call::Read {
                topic: TopicId(t),
                after,
                max_bytes
            }),
            (id, id).prop_map(|(t, i)| Call::Want { topic: TopicId(t), ids: vec![EntryId(i); 3] }),
            (id, any::<u64>()).prop_map(|(t, after)| Call::Watch {
                topics: vec![Watch { topic: TopicId(t), after }; 2],
                credit: after
            }),
            (id, bytes(), proptest::option::of(bytes())).prop_map(|(t, b, last)| Call::PutPackages {
                inbox: TopicId(t),
                records: vec![Bytes(b.clone()), Bytes(b)],
                last_resort: last.map(Bytes)
            }),
            (id, any::<u64>()).prop_map(|(b, from)| Call::GetChunk { id: BlobId(b), from, len: from }),
        ]
    }

    proptest! {
        #[test]
        fn calls_round_trip_and_an_independent_decoder_reads_them(number: u64, call in calls()) {
            let bytes = ClientFrame { number, call: call.clone() }.to_bytes();
            prop_assert_eq!(ClientFrame::from_bytes(&bytes).unwrap(), ClientFrame { number, call });
            prop_assert_eq!(frame_number(&bytes), number);
            prop_assert!(serde_cbor::from_slice::<serde_cbor::Value>(&bytes).is_ok());
        }

        #[test]
        fn noise_and_bent_frames_never_panic(
            call in calls(), at in any::<prop::sample::Index>(), bit in 0u8..8,
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = ClientFrame { number: 1, call }.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = ClientFrame::from_bytes(&bytes);
            let _ = ServerFrame::from_bytes(&bytes);
            let _ = ClientFrame::from_bytes(&noise);
            let _ = ServerFrame::from_bytes(&noise);
            let _ = frame_number(&noise);
        }
    }

    #[test]
    fn server_frames_round_trip() {
        let topic = TopicId([1; 32]);
        let answers = [
            Answer::Hello { version: 1 },
            Answer::Statement { statement: vec![1] },
            Answer::Opened { next: 1, left: 2, packages: 3 },
            Answer::Receipt { receipt: vec![2; 300] },
            Answer::Entries { entries: vec![Entry { index: 1, bytes: vec![3; 1024] }], next: 1, end: true },
            Answer::Ids { ids: vec![Numbered { index: 4, id: EntryId([4; 32]) }], next: 4, end: false },
            Answer::Done {},
            Answer::Packages { left: 9 },
            Answer::Package { record: vec![5] },
            Answer::ChunkStored { stored_until_ms: 6 },
            Answer::Chunk { total: 7, bytes: vec![7] },
            Answer::Turn {
                turn: Turn {
                    urls: vec!["turn:relay.example:3478?transport=tcp".into()],
                    username: "1:a".into(),
                    credential: "c".into(),
                    valid_s: 60,
                },
            },
        ];
        let mut frames: Vec<_> =
            answers.into_iter().map(|answer| ServerFrame::Answer { number: 8, answer }).collect();
        frames.push(ServerFrame::Hello { lowest: 1, highest: 2, nonce: [3; 32], statement: vec![4] });
        frames.push(ServerFrame::Refused {
            number: 1,
            refusal: Refusal::of(Code::Other(900)).limit(5).retry_ms(6),
        });
        for push in [
            Push::Entry { topic, index: 1, bytes: vec![1] },
            Push::PackagesLow { inbox: topic, left: 8 },
            Push::Evicted { notice: vec![1] },
        ] {
            frames.push(ServerFrame::Push { push });
        }
        for frame in frames {
            assert_eq!(ServerFrame::from_bytes(&frame.to_bytes()).unwrap(), frame);
        }
    }

    #[test]
    fn a_full_answer_fits_into_a_frame() {
        let entry = limits::ENTRY_BUCKETS[0];
        let entries: Vec<_> = (0..ANSWER_BYTES_MAX / entry)
            .map(|i| Entry { index: u64::MAX - i as u64, bytes: vec![0; entry] })
            .collect();
        let answer = Answer::Entries { entries, next: u64::MAX, end: false };
        assert!(ServerFrame::Answer { number: u64::MAX, answer }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
        let ids = vec![Numbered { index: u64::MAX, id: EntryId([0; 32]) }; IDS_MAX];
        let answer = Answer::Ids { ids, next: u64::MAX, end: false };
        assert!(ServerFrame::Answer { number: u64::MAX, answer }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
        let call = Call::PutPackages {
            inbox: TopicId([0; 32]),
            records: vec![Bytes(vec![0; PACKAGE_RECORD_BYTES_MAX]); PACKAGES_PER_CALL_MAX],
            last_resort: Some(Bytes(vec![0; PACKAGE_RECORD_BYTES_MAX])),
        };
        assert!(ClientFrame { number: u64::MAX, call }.to_bytes().len() <= limits::FRAME_BYTES_MAX);
    }

    #[test]
    fn a_relay_cannot_smuggle_other_things_into_a_browsers_configuration() {
        let good = Turn {
            urls: vec!["stun:192.0.2.1:3478".into(), "turn:[2001:db8::1]:3478?transport=udp".into()],
            username: "1:a".into(),
            credential: "x=".into(),
            valid_s: 1,
        };
        assert!(good.is_sound());
        let bent = |bend: fn(&mut Turn)| {
            let mut turn = good.clone();
            bend(&mut turn);
            turn.is_sound()
        };
        assert!(!bent(|t| t.urls.clear()));
        assert!(!bent(|t| t.urls.push("https://example.org".into())));
        assert!(!bent(|t| t.urls.push("turn:a b".into())));
        assert!(!bent(|t| t.urls = vec!["stun:a".into(); Turn::URLS_MAX + 1]));
        assert!(!bent(|t| t.username = "x".repeat(Turn::TEXT_BYTES_MAX + 1)));
        assert!(!bent(|t| t.credential = "\n".into()));
        assert!(!bent(|t| t.valid_s = 0));
    }

    #[test]
    fn versions_meet_or_do_not() {
        assert_eq!(common_version((1, 3)), Some(1));
        assert_eq!(common_version((2, 3)), None);
        assert_eq!(common_version((0, 0)), None);
    }
}
