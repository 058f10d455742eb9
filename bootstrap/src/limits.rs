//! Every limit of the service. What an operator may change is a field; what
//! only protects the process is a constant beside its use.

/// Limits that the statement promises or that protect the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest time that anything is kept, seconds.
    pub retention_s: u64,
    /// Bytes of one topic.
    pub topic_bytes: u64,
    /// Bytes over all topics that one sender may fill.
    pub sender_bytes: u64,
    /// Topics that one sender may start.
    pub sender_topics: u64,
    /// Bytes of the whole relay.
    pub total_bytes: u64,
    /// Topics of the whole relay.
    pub total_topics: u64,
    /// Links at once.
    pub links: u64,
    /// Topics open on one link.
    pub open_topics: u64,
    /// Calls per second on one link, on average.
    pub calls_per_s: u64,
    /// Bytes per second on one link, both ways, on average.
    pub bytes_per_s: u64,
    /// Key packages waiting at one inbox.
    pub packages: u64,
    /// Bits of work for a request without a token.
    pub work_bits: u8,
    /// Bytes of requests without a token in one inbox.
    pub request_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retention_s: 30 * 24 * 3600,
            topic_bytes: 512 << 20,
            sender_bytes: 4 << 30,
            sender_topics: 10_000,
            total_bytes: 64 << 30,
            total_topics: 1_000_000,
            links: 5_000,
            open_topics: 1_024,
            calls_per_s: 1_000,
            bytes_per_s: 16 << 20,
            packages: 100,
            work_bits: 16,
            request_bytes: 512 << 10,
        }
    }
}

impl Limits {
    /// Bytes of one topic that one sender may fill: a quarter, so that a
    /// removed member who still holds the topic cannot fill it.
    #[must_use]
    pub fn share_bytes(&self) -> u64 {
        self.topic_bytes / 4
    }
}
