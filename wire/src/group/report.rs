//! A message reported to a group's admins: from a member's device to each of
//! theirs, by inbox. The author of the message gets none.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::WireError;
use crate::ids::{AccountId, DeviceId, EventId, GroupId, TopicId};
use crate::object::object;
use crate::signed::{self, Raw};
use crate::{labels, limits};

/// "Look at this message." Signed by the reporting member's device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// [`kinds::REPORT`].
    #[n(0)]
    pub kind: u16,
    /// 1.
    #[n(1)]
    pub version: u16,
    /// Group.
    #[n(2)]
    pub gid: GroupId,
    /// Receiving device.
    #[n(3)]
    pub to: DeviceId,
    /// Its inbox.
    #[n(4)]
    pub to_inbox: TopicId,
    /// Reporting device, a leaf of the group.
    #[n(5)]
    pub device: DeviceId,
    /// The message.
    #[n(6)]
    pub event: EventId,
    /// Its author.
    #[n(7)]
    pub author: AccountId,
    /// How it begins, for a receiver that does not hold it: the reporter's word.
    #[n(8)]
    pub quote: String,
    /// What the reporter says to it; may be empty.
    #[n(9)]
    pub reason: String,
    /// When it was reported, Unix ms.
    #[n(10)]
    pub at: u64,
}

object! {
    Report: kinds::REPORT, fields [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], label labels::SIG_REPORT, check Self::bounds
}

impl Report {
    fn bounds(&self) -> Result<(), WireError> {
        if self.quote.len() > limits::REPORT_QUOTE_BYTES_MAX {
            return Err(WireError::TooLarge("what a report quotes"));
        }
        if self.reason.len() > limits::REPORT_REASON_BYTES_MAX {
            return Err(WireError::TooLarge("the reason of a report"));
        }
        Ok(())
    }
    /// Signs it with the reporting device's key.
    #[must_use]
    pub fn sign(&self, device: &SigningKey) -> Vec<u8> {
        signed::sign(self, device, &[]).to_bytes()
    }
    /// Reads a report that is meant for this device and inbox, and that the
    /// device that it names has signed. Whether that one is a member is for
    /// the receiver to look up.
    pub fn open(raw: &Raw, device: &DeviceId, inbox: &TopicId) -> Result<Self, WireError> {
        let report: Self = raw.body()?;
        if (report.to, report.to_inbox) != (*device, *inbox) {
            return Err(WireError::Invalid("the report is meant for somebody else"));
        }
        raw.verify::<Self>(&report.device.0, &[])?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Versioned as _;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn sample() -> Report {
        Report {
            kind: kinds::REPORT,
            version: 1,
            gid: GroupId([1; 32]),
            to: DeviceId([2; 32]),
            to_inbox: TopicId([3; 32]),
            device: DeviceId(key().verifying_key().to_bytes()),
            event: EventId([5; 32]),
            author: AccountId([6; 32]),
            quote: "Buy now".into(),
            reason: "Spam".into(),
            at: 7,
        }
    }

    #[test]
    fn golden_body() {
        let report = Report { device: DeviceId([4; 32]), ..sample() };
        let expected = [
            &[0xab, 0, 12, 1, 1][..],
            &[2, 0x58, 32],
            &[1; 32],
            &[3, 0x58, 32],
            &[2; 32],
            &[4, 0x58, 32],
            &[3; 32],
            &[5, 0x58, 32],
            &[4; 32],
            &[6, 0x58, 32],
            &[5; 32],
            &[7, 0x58, 32],
            &[6; 32],
            &[8, 0x67],
            b"Buy now",
            &[9, 0x64],
            b"Spam",
            &[10, 7],
        ]
        .concat();
        assert_eq!(report.to_bytes(), expected);
        assert_eq!(labels::SIG_REPORT, "kith/sig/report/v1");
    }

    #[test]
    fn only_the_named_device_signs_and_only_the_named_one_reads() {
        let report = sample();
        let raw = Raw::from_bytes(&report.sign(&key())).unwrap();
        assert_eq!(Report::open(&raw, &report.to, &report.to_inbox), Ok(report.clone()));
        assert!(Report::open(&raw, &DeviceId([9; 32]), &report.to_inbox).is_err());
        assert!(Report::open(&raw, &report.to, &TopicId([9; 32])).is_err());
        let forged = Raw::from_bytes(&report.sign(&SigningKey::from_bytes(&[8; 32]))).unwrap();
        assert!(Report::open(&forged, &report.to, &report.to_inbox).is_err());
    }

    #[test]
    fn quote_and_reason_are_bounded() {
        let read = |r: Report| Report::from_bytes(&r.to_bytes());
        let quote = |n: usize| Report { quote: "q".repeat(n), ..sample() };
        let reason = |n: usize| Report { reason: "r".repeat(n), ..sample() };
        assert!(read(quote(limits::REPORT_QUOTE_BYTES_MAX)).is_ok());
        assert!(read(quote(limits::REPORT_QUOTE_BYTES_MAX + 1)).is_err());
        assert!(read(reason(limits::REPORT_REASON_BYTES_MAX)).is_ok());
        assert!(read(reason(limits::REPORT_REASON_BYTES_MAX + 1)).is_err());
        assert!(matches!(read(Report { version: 2, ..sample() }), Err(WireError::Version(2))));
    }

    proptest! {
        #[test]
        fn reports_round_trip(quote in "\\PC{0,80}", reason in "\\PC{0,80}", at: u64) {
            let report = Report { quote, reason, at, ..sample() };
            prop_assert_eq!(Report::from_bytes(&report.to_bytes()), Ok(report));
        }
    }
}
