//! The event ring: what happened lately, numbered, for every open stream.
//!
//! Each stream holds only a place in the ring, so a slow one costs nothing; one
//! that falls out of the ring is cut and comes back with a resync.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use data_encoding::HEXLOWER;
use kith_core::api::Event;
use serde::Serialize;
use tokio::sync::watch;

use crate::limits::{RING_BYTES_MAX, RING_EVENTS_MAX};
use crate::sessions::SessionError;

/// The events of this process.
pub struct EventHub {
    run: String,
    ring: Mutex<Ring>,
    /// Changes with every event and at every lock.
    newest: watch::Sender<Newest>,
}

/// Where the ring's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Newest {
    /// Number of the newest event.
    pub(crate) seq: u64,
    /// How often the vault was locked: a stream of an earlier count ends.
    pub(crate) locks: u64,
}

#[derive(Default)]
struct Ring {
    frames: VecDeque<(u64, Utf8Bytes)>,
    bytes: usize,
    newest: Newest,
}

/// What a stream gets next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These frames, the last of which has this number.
    Frames(Vec<Utf8Bytes>, u64),
    /// Nothing new.
    Nothing,
    /// It fell behind the ring.
    Lost,
}

#[derive(Serialize)]
struct Frame<'a> {
    seq: u64,
    event: &'a Event,
}

impl EventHub {
    /// An empty ring with a random name for this run of the process.
    pub fn new() -> Result<Self, SessionError> {
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|e| SessionError::Random(e.to_string()))?;
        Ok(Self {
            run: HEXLOWER.encode(&run),
            ring: Mutex::default(),
            newest: watch::Sender::new(Newest::default()),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names this run of the process: sequence numbers of another mean nothing.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Tells every stream.
    pub fn publish(&self, event: &Event) {
        let mut ring = self.ring();
        let seq = ring.newest.seq + 1;
        // Our own types always serialise.
        let Ok(text) = serde_json::to_string(&Frame { seq, event }) else { return };
        ring.newest.seq = seq;
        ring.bytes += text.len();
        ring.frames.push_back((seq, text.into()));
        while ring.frames.len() > RING_EVENTS_MAX || (ring.bytes > RING_BYTES_MAX && ring.frames.len() > 1) {
            if let Some((_, old)) = ring.frames.pop_front() {
                ring.bytes -= old.len();
            }
        }
        self.newest.send_replace(ring.newest);
    }

    /// The vault was locked: what was said before is forgotten, streams end.
    pub fn locked(&self) {
        let mut ring = self.ring();
        ring.frames.clear();
        ring.bytes = 0;
        ring.newest.locks += 1;
        self.newest.send_replace(ring.newest);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Newest> {
        self.newest.subscribe()
    }

    /// Where a stream that has seen `after` of this run begins: its place, and
    /// whether events in between are gone.
    pub(crate) fn start(&self, after: Option<u64>, run: Option<&str>) -> (u64, bool) {
        let ring = self.ring();
        let newest = ring.newest.seq;
        let same_run = run.is_none_or(|run| run == self.run);
        match after {
            Some(after) if same_run && after <= newest && ring.holds_after(after) => (after, false),
            _ => (newest, true),
        }
    }

    /// Up to `limit` frames behind `after`.
    pub(crate) fn next(&self, after: u64, limit: usize) -> Next {
        let ring = self.ring();
        if after >= ring.newest.seq {
            return Next::Nothing;
        }
        if !ring.holds_after(after) {
            return Next::Lost;
        }
        let first = ring.frames.partition_point(|(seq, _)| *seq <= after);
        let mut last = after;
        let frames = ring.frames.iter().skip(first).take(limit).map(|(seq, frame)| {
            last = *seq;
            frame.clone()
        });
        let frames = frames.collect();
        Next::Frames(frames, last)
    }
}

impl Ring {
    fn holds_after(&self, after: u64) -> bool {
        after == self.newest.seq || self.frames.front().is_some_and(|(first, _)| *first <= after + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> Event {
        Event::Typing { conversation: n.to_string(), account: "x".into() }
    }

    #[test]
    fn a_stream_gets_each_event_once_and_in_order() {
        let hub = EventHub::new().unwrap();
        for n in 0..10 {
            hub.publish(&event(n));
        }
        let (mut at, resync) = hub.start(Some(4), Some(hub.run()));
        assert!(!resync);
        let mut got = Vec::new();
        while let Next::Frames(frames, last) = hub.next(at, 4) {
            assert!(frames.len() <= 4);
            got.extend(frames);
            at = last;
        }
        assert_eq!(got.len(), 6);
        assert!(got[0].contains("\"seq\":5") && got[5].contains("\"seq\":10"));
    }

    #[test]
    fn a_gap_another_run_and_a_number_from_the_future_ask_for_a_resync() {
        let hub = EventHub::new().unwrap();
        assert_eq!(hub.start(None, None), (0, true));
        assert_eq!(hub.start(Some(0), None), (0, false));
        for n in 0..RING_EVENTS_MAX + 10 {
            hub.publish(&event(n));
        }
        let newest = u64::try_from(RING_EVENTS_MAX).unwrap() + 10;
        assert_eq!(hub.start(Some(9), None), (newest, true));
        assert_eq!(hub.start(Some(10), None), (10, false));
        assert_eq!(hub.start(Some(newest), Some("another")), (newest, true));
        assert_eq!(hub.start(Some(newest + 1), None), (newest, true));
        assert_eq!(hub.start(Some(u64::MAX), None), (newest, true));
        assert_eq!(hub.next(9, 1), Next::Lost);
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_forgets_at_a_lock() {
        let hub = EventHub::new().unwrap();
        let big = Event::Notice { conversation: None, code: "x".into(), message: "m".repeat(1 << 20) };
        for _ in 0..20 {
            hub.publish(&big);
        }
        assert!(hub.ring().bytes <= RING_BYTES_MAX);
        hub.locked();
        assert_eq!(hub.ring().bytes, 0);
        assert_eq!(hub.start(Some(19), None), (20, true));
    }
}
