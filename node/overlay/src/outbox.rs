//! The queue of frames that wait to be written to one link: bounded in frames
//! and bytes. It never drops one: when it is full the link is cut, with the
//! reason said.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Frames that may wait on one link.
pub const OUTBOX_FRAMES_MAX: usize = 1024;
/// Bytes that may wait on one link.
pub const OUTBOX_BYTES_MAX: usize = 4 << 20;
/// Bytes that one write may coalesce; larger frames go alone.
const BATCH_BYTES: usize = 64 << 10;

/// Why a link was cut for reading too slowly.
pub(crate) const OVERFLOW: &str = "the other side reads too slowly; too much was waiting to be sent";

/// How a link is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    /// What waits is thrown away.
    Now(&'static str),
    /// What waits is written first.
    Flushed(&'static str),
    /// As `Flushed`, but not before that moment.
    Later(Instant, &'static str),
}

#[derive(Default)]
struct State {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    close: Option<Close>,
    waker: Option<Waker>,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// It waits to be written.
    Queued,
    /// The link is being closed; the frame is gone, and `Down` will say so.
    Closed,
}

/// What the writer does next.
pub(crate) enum Next {
    /// Bytes were put into its buffer; whether the queue is empty now.
    Write { drained: bool },
    /// End the link; whether what was written should be flushed first.
    End { reason: &'static str, flush: bool },
}

/// Why a write under way has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At once.
    Now(&'static str),
    /// When it is done, or after a while.
    Soon(&'static str),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<State>);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; a full queue cuts the link.
    pub(crate) fn push(&self, frame: Vec<u8>) -> Push {
        let mut s = self.lock();
        if matches!(s.close, Some(Close::Now(_) | Close::Flushed(_))) {
            return Push::Closed;
        }
        let pushed = if s.frames.len() >= OUTBOX_FRAMES_MAX || s.bytes + frame.len() > OUTBOX_BYTES_MAX {
            s.close = Some(Close::Now(OVERFLOW));
            s.frames = VecDeque::new();
            s.bytes = 0;
            Push::Closed
        } else {
            s.bytes += frame.len();
            s.frames.push_back(frame);
            Push::Queued
        };
        let waker = s.waker.take();
        drop(s);
        if let Some(waker) = waker {
            waker.wake();
        }
        pushed
    }

    fn close(&self, how: Close) {
        let mut s = self.lock();
        // The first reason stands, except that "later" yields to everything.
        if matches!(s.close, None | Some(Close::Later(..))) {
            s.close = Some(how);
        }
        if let Some(waker) = s.waker.take() {
            waker.wake();
        }
    }

    /// Ends the link at once.
    pub(crate) fn cut(&self, reason: &'static str) {
        self.close(Close::Now(reason));
    }

    /// Ends the link when what waits has been written.
    pub(crate) fn finish(&self, reason: &'static str) {
        self.close(Close::Flushed(reason));
    }

    /// Ends the link after `grace`, as [`Outbox::finish`]; until then it
    /// carries frames as before.
    pub(crate) fn finish_later(&self, grace: Duration, reason: &'static str) {
        self.close(Close::Later(Instant::now() + grace, reason));
    }

    /// Whether a write under way has to stop: at once, or soon because what
    /// waits (and is being written) is the last.
    pub(crate) fn poll_stop(&self, cx: &mut Context<'_>) -> Poll<Stop> {
        let mut s = self.lock();
        match s.close {
            Some(Close::Now(reason)) => Poll::Ready(Stop::Now(reason)),
            Some(Close::Flushed(reason)) => Poll::Ready(Stop::Soon(reason)),
            _ => {
                s.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The moment at which a "later" becomes due, for the writer's timer.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.lock().close {
            Some(Close::Later(at, _)) => Some(at),
            _ => None,
        }
    }

    /// Turns a due "later" into "when written".
    pub(crate) fn tick(&self, now: Instant) {
        let mut s = self.lock();
        if let Some(Close::Later(at, reason)) = s.close
            && at <= now
        {
            s.close = Some(Close::Flushed(reason));
            if let Some(waker) = s.waker.take() {
                waker.wake();
            }
        }
    }

    /// Puts length-prefixed frames into `buf` (empty on entry), or says how to
    /// end. A "later" close wakes the writer once, so that it sets its timer.
    pub(crate) fn poll_next(
        &self,
        cx: &mut Context<'_>,
        timer_set: bool,
        buf: &mut Vec<u8>,
    ) -> Poll<Option<Next>> {
        let mut s = self.lock();
        if let Some(Close::Now(reason)) = s.close {
            return Poll::Ready(Some(Next::End { reason, flush: false }));
        }
        while let Some(frame) = s.frames.front() {
            if !buf.is_empty() && buf.len() + 4 + frame.len() > BATCH_BYTES {
                break;
            }
            if let Some(frame) = s.frames.pop_front() {
                s.bytes = s.bytes.saturating_sub(frame.len());
                let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                buf.extend_from_slice(&len.to_be_bytes());
                buf.extend_from_slice(&frame);
            }
        }
        if !buf.is_empty() {
            return Poll::Ready(Some(Next::Write { drained: s.frames.is_empty() }));
        }
        match s.close {
            Some(Close::Flushed(reason)) => Poll::Ready(Some(Next::End { reason, flush: true })),
            Some(Close::Later(..)) if !timer_set => Poll::Ready(None),
            _ => {
                s.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(outbox: &Outbox) -> (Poll<Option<Next>>, Vec<u8>) {
        let mut buf = Vec::new();
        let polled = outbox.poll_next(&mut Context::from_waker(Waker::noop()), true, &mut buf);
        (polled, buf)
    }

    #[test]
    fn frames_are_coalesced_in_order_up_to_a_batch() {
        let outbox = Outbox::default();
        for i in 0..10u8 {
            assert_eq!(outbox.push(vec![i; 3]), Push::Queued);
        }
        assert_eq!(outbox.push(vec![99; BATCH_BYTES]), Push::Queued);
        let (polled, buf) = next(&outbox);
        assert!(matches!(polled, Poll::Ready(Some(Next::Write { drained: false }))));
        assert_eq!(buf.len(), 70);
        assert_eq!(&buf[63..], &[0, 0, 0, 3, 9, 9, 9]);
        let (polled, buf) = next(&outbox);
        assert!(matches!(polled, Poll::Ready(Some(Next::Write { drained: true }))));
        assert_eq!(buf.len(), BATCH_BYTES + 4);
        assert!(next(&outbox).0.is_pending());
    }

    #[test]
    fn a_full_queue_cuts_the_link_with_the_reason() {
        let outbox = Outbox::default();
        for _ in 0..OUTBOX_FRAMES_MAX {
            assert_eq!(outbox.push(vec![1]), Push::Queued);
        }
        assert_eq!(outbox.push(vec![1]), Push::Closed);
        assert!(matches!(next(&outbox).0, Poll::Ready(Some(Next::End { reason: OVERFLOW, flush: false }))));

        let outbox = Outbox::default();
        for _ in 0..4 {
            assert_eq!(outbox.push(vec![1; 1 << 20]), Push::Queued);
        }
        assert_eq!(outbox.push(vec![1]), Push::Closed);
        // The reason is not overwritten by a later close.
        outbox.finish("other");
        assert!(matches!(next(&outbox).0, Poll::Ready(Some(Next::End { reason: OVERFLOW, .. }))));
    }

    #[test]
    fn closing_writes_what_waits_first_and_takes_no_more() {
        let outbox = Outbox::default();
        outbox.push(vec![7]);
        outbox.finish("done");
        assert_eq!(outbox.push(vec![8]), Push::Closed);
        assert_eq!(next(&outbox).1, [0, 0, 0, 1, 7]);
        assert!(matches!(next(&outbox).0, Poll::Ready(Some(Next::End { reason: "done", flush: true }))));
    }

    #[test]
    fn closing_later_carries_frames_until_then() {
        let outbox = Outbox::default();
        outbox.finish_later(Duration::from_secs(2), "later");
        let due = outbox.due().unwrap();
        assert_eq!(outbox.push(vec![7]), Push::Queued);
        assert_eq!(next(&outbox).1.len(), 5);
        outbox.tick(due - Duration::from_millis(1));
        assert!(next(&outbox).0.is_pending());
        outbox.tick(due);
        assert!(matches!(next(&outbox).0, Poll::Ready(Some(Next::End { reason: "later", flush: true }))));
    }
}
