//! Calls as pages see them.

use kith_store::{Read, StoreError};
use kith_wire::call::{Body, Outcome, Reason, fingerprint};

use super::machine::{Call, Phase, Record, Remote};
use super::rows::{CallRow, hides};
use crate::api::Now;
use crate::people;
use crate::rows::{Entry, home};
use crate::view::{self, CallOutcome, CallPhase, CallReason, Content};

impl From<Outcome> for CallOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered => Self::Answered,
            Outcome::Unanswered => Self::Unanswered,
            Outcome::Declined => Self::Declined,
            Outcome::Busy => Self::Busy,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Failed => Self::Failed,
            Outcome::GaveWay => Self::GaveWay,
        }
    }
}

impl From<Reason> for CallReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::HungUp => Self::HungUp,
            Reason::Declined => Self::Declined,
            Reason::Busy => Self::Busy,
            Reason::Lost => Self::Lost,
            Reason::WrongKey => Self::WrongKey,
            Reason::Removed => Self::Removed,
        }
    }
}

/// A reason that a page may give: it hung up, lost the path, or saw a wrong key.
pub(super) fn reason_of(text: &str) -> Option<Reason> {
    match text {
        "hung_up" => Some(Reason::HungUp),
        "lost" => Some(Reason::Lost),
        "wrong_key" => Some(Reason::WrongKey),
        _ => None,
    }
}

/// Whether something of the other side is for the page of a call.
pub(super) fn concerns(call: &Call, remote: &Remote) -> bool {
    match call.other {
        Some(other) => remote.from == other,
        None => remote.from == call.caller.1,
    }
}

/// A call that is not over.
pub(super) fn call(r: &dyn Read, now: Now, c: &Call) -> Result<view::Call, StoreError> {
    let (phase, active_ms) = match c.phase {
        Phase::Calling { ringing: false } => (CallPhase::Calling, None),
        Phase::Calling { ringing: true } => (CallPhase::Ringing, None),
        Phase::Incoming => (CallPhase::Incoming, None),
        Phase::Answering => (CallPhase::Answering, None),
        Phase::Active { since } => (CallPhase::Active, Some(now.mono_ms.saturating_sub(since))),
        Phase::Watching { .. } => (CallPhase::Elsewhere, None),
    };
    Ok(view::Call {
        id: c.id.hex(),
        conversation: home(r, &c.group)?.unwrap_or(c.group).hex(),
        peer: c.peer.to_text(),
        name: people::display_name(r, &c.peer)?,
        outgoing: c.outgoing,
        video: c.video,
        phase,
        tab: c.tab.clone(),
        auto: c.auto,
        begun_at: c.begun_ms,
        active_ms,
        hide_address: hides(r, &c.peer)?,
        their: view::CallMedia {
            microphone: c.their_media.microphone,
            video: c.their_media.video,
            screen: c.their_media.screen,
        },
        outcome: None,
        reason: None,
    })
}

/// A call that is over.
pub(super) fn over(r: &dyn Read, record: &Record) -> Result<view::Call, StoreError> {
    Ok(view::Call {
        id: record.id.hex(),
        conversation: home(r, &record.group)?.unwrap_or(record.group).hex(),
        peer: record.peer.to_text(),
        name: people::display_name(r, &record.peer)?,
        outgoing: record.outgoing,
        video: record.video,
        phase: CallPhase::Over,
        tab: None,
        auto: false,
        begun_at: record.begun_ms,
        active_ms: (record.outcome == Outcome::Answered).then_some(record.talked_ms),
        hide_address: hides(r, &record.peer)?,
        their: view::CallMedia::default(),
        outcome: Some(record.outcome.into()),
        reason: Some(record.reason.into()),
    })
}

/// Something of the other side.
pub(super) fn signal(remote: &Remote) -> view::CallSignal {
    let (kind, sdp, candidates) = match &remote.body {
        Body::Offer { sdp, .. } => (view::CallSignalKind::Offer, Some(sdp.clone()), Vec::new()),
        Body::Answer { sdp, .. } => (view::CallSignalKind::Answer, Some(sdp.clone()), Vec::new()),
        Body::Candidates { lines } => (view::CallSignalKind::Candidates, None, lines.clone()),
        _ => (view::CallSignalKind::Restart, None, Vec::new()),
    };
    view::CallSignal {
        number: remote.number,
        seq: remote.seq,
        kind,
        fingerprint: sdp.as_deref().and_then(fingerprint),
        sdp,
        candidates,
    }
}

/// A row of the timeline.
pub(crate) fn content(entry: &Entry) -> Content {
    let Some(row) = CallRow::of(entry) else { return Content::Newer };
    Content::Call {
        call: data_encoding::HEXLOWER.encode(&row.call),
        outgoing: row.outgoing,
        video: row.video,
        outcome: row.outcome.into(),
        reason: row.reason.into(),
        talked_ms: row.talked_ms,
    }
}
