//! What can be told of a stream of RTP packets by looking at it: how many, how
//! many are missing, how unevenly they come (RFC 3550, appendix A).

use std::time::Instant;

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    first: Option<u64>,
    highest: u64,
    packets: u64,
    bytes: u64,
    jitter_ms: f64,
    last: Option<(Instant, u32)>,
}

/// What was seen of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    /// Packets that came.
    pub(crate) packets: u64,
    /// Bytes of media.
    pub(crate) bytes: u64,
    /// Packets that did not come.
    pub(crate) lost: u64,
    /// Unevenness, ms.
    pub(crate) jitter_ms: f64,
}

impl Stream {
    /// A packet came.
    pub(crate) fn packet(&mut self, at: Instant, sequence: u16, timestamp: u32, bytes: usize, clock_hz: u32) {
        let extended = self.extend(sequence);
        self.first.get_or_insert(extended);
        self.highest = self.highest.max(extended);
        self.packets += 1;
        self.bytes += bytes as u64;
        if let Some((before, stamp)) = self.last {
            let passed = at.saturating_duration_since(before).as_secs_f64() * 1000.0;
            let meant = f64::from(timestamp.wrapping_sub(stamp).cast_signed()) * 1000.0 / f64::from(clock_hz);
            let off = (passed - meant).abs();
            // A pause of the sender is no unevenness of the path.
            if off < 2_000.0 {
                self.jitter_ms += (off - self.jitter_ms) / 16.0;
            }
        }
        self.last = Some((at, timestamp));
    }

    /// The sequence number with its turns counted.
    fn extend(&self, sequence: u16) -> u64 {
        let low = u64::from(sequence);
        if self.first.is_none() {
            return low + 0x1_0000;
        }
        let turn = self.highest & !0xffff;
        [turn.saturating_sub(0x1_0000) + low, turn + low, turn + 0x1_0000 + low]
            .into_iter()
            .min_by_key(|candidate| candidate.abs_diff(self.highest))
            .unwrap_or(low)
    }

    pub(crate) fn seen(&self) -> Seen {
        let expected = self.first.map_or(0, |first| self.highest.saturating_sub(first) + 1);
        Seen {
            packets: self.packets,
            bytes: self.bytes,
            lost: expected.saturating_sub(self.packets),
            jitter_ms: self.jitter_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_missing_is_counted_across_the_turn_of_the_numbers() {
        let start = Instant::now();
        let mut stream = Stream::default();
        let numbers = [65_533u16, 65_534, 1, 0, 2, 5];
        for (n, sequence) in (0u32..).zip(numbers) {
            stream.packet(start + Duration::from_millis(u64::from(n) * 20), sequence, n * 960, 10, 48_000);
        }
        let seen = stream.seen();
        // 65,533 to 5 are nine numbers.
        assert_eq!((seen.packets, seen.lost, seen.bytes), (6, 3, 60));
        assert!(seen.jitter_ms < 0.01);
    }

    #[test]
    fn uneven_arrival_shows() {
        let start = Instant::now();
        let mut stream = Stream::default();
        for n in 0..200u32 {
            let late = if n % 2 == 0 { 0 } else { 10 };
            let at = start + Duration::from_millis(u64::from(n) * 20 + late);
            stream.packet(at, u16::try_from(n).unwrap(), n * 960, 10, 48_000);
        }
        let jitter = stream.seen().jitter_ms;
        assert!((8.0..12.0).contains(&jitter), "{jitter}");
    }

    #[test]
    fn nothing_is_missing_of_nothing() {
        assert_eq!(Stream::default().seen(), Seen::default());
    }
}
