//! Which links there are: the one place that decides who may open, accept and
//! keep one, so that each pair of peers ends with one link of each kind.
//!
//! The rules (docs/adr): while both sides open at once the stream of the
//! smaller key stands; a link that its opener confirms takes the place of
//! older ones; a direct link retires a relayed one after a grace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkId, LinkKind, Path};
use libp2p::swarm::ConnectionId;

use crate::outbox::Outbox;

/// Streams of one peer that may wait for its confirmation at once.
const OFFERED_PER_PEER_MAX: usize = 2;
/// How long a relayed link outlives the direct one that takes its place.
pub(crate) const RELAYED_GRACE: Duration = Duration::from_secs(2);
/// A worse link that is confirmed this soon after a better one was opened at
/// the same time as it and is not wanted any more.
const OVERLAP: Duration = Duration::from_secs(5);

/// How long a link outlives its connection, to hand over what has arrived.
pub(crate) const LOST_GRACE: Duration = Duration::from_secs(1);

pub(crate) const LOST: &str = "the connection was lost";
pub(crate) const SILENT: &str = "the other side stopped answering";
const REPLACED: &str = "a newer link to the same peer took its place";
const DIRECT_STANDS: &str = "a direct link took the place of the relayed one";

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

/// What is known of a link.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) id: LinkId,
    pub(crate) kind: LinkKind,
    pub(crate) peer: PeerKey,
    pub(crate) local: PeerKey,
    pub(crate) path: Path,
    pub(crate) conn: ConnectionId,
    pub(crate) ip: Option<IpAddr>,
}

impl Meta {
    /// A link with a new name.
    pub(crate) fn new(
        kind: LinkKind,
        peer: PeerKey,
        local: PeerKey,
        path: Path,
        conn: ConnectionId,
        ip: Option<IpAddr>,
    ) -> Self {
        Self { id: LinkId(NEXT_LINK.fetch_add(1, Ordering::Relaxed)), kind, peer, local, path, conn, ip }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We asked for it.
    Opening,
    /// They asked, we said yes, they have not confirmed yet.
    Offered,
    /// It carries frames since then.
    Up(Instant),
}

struct Entry {
    meta: Meta,
    state: State,
    outbox: Arc<Outbox>,
}

/// Why a link may not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// One at least as good stands.
    Stands,
    /// One at least as good is being made.
    UnderWay,
    /// There are too many.
    Full,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<LinkId, Entry>,
    peers: BTreeMap<(LinkKind, PeerKey), Vec<LinkId>>,
}

/// All links of one overlay; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    inner: Arc<Mutex<Inner>>,
    max: usize,
}

fn rank(path: Path) -> u8 {
    match path {
        Path::Circuit => 0,
        Path::DirectQuic | Path::DirectTcp => 1,
    }
}

impl Inner {
    fn of(&self, kind: LinkKind, peer: PeerKey) -> impl Iterator<Item = &Entry> {
        self.peers.get(&(kind, peer)).into_iter().flatten().filter_map(|id| self.entries.get(id))
    }

    fn insert(&mut self, meta: &Meta, state: State) -> Arc<Outbox> {
        let outbox = Arc::<Outbox>::default();
        self.peers.entry((meta.kind, meta.peer)).or_default().push(meta.id);
        self.entries.insert(meta.id, Entry { meta: meta.clone(), state, outbox: outbox.clone() });
        outbox
    }
}

impl Links {
    /// No links yet, and never more than `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self { inner: Arc::default(), max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a link may be opened on this path; if so it counts from now.
    pub(crate) fn begin_open(&self, meta: &Meta) -> Result<Arc<Outbox>, Blocked> {
        let mut t = self.lock();
        let mut blocked = None;
        for e in t.of(meta.kind, meta.peer).filter(|e| rank(e.meta.path) >= rank(meta.path)) {
            match e.state {
                State::Up(_) => return Err(Blocked::Stands),
                State::Opening | State::Offered => blocked = Some(Blocked::UnderWay),
            }
        }
        if let Some(why) = blocked {
            return Err(why);
        }
        if t.entries.len() >= self.max {
            return Err(Blocked::Full);
        }
        Ok(t.insert(meta, State::Opening))
    }

    /// Whether a stream that the far end opened may become a link.
    pub(crate) fn offer(&self, meta: &Meta) -> Result<Arc<Outbox>, Blocked> {
        let mut t = self.lock();
        let we_win = meta.local < meta.peer;
        let mut offered = 0;
        for e in t.of(meta.kind, meta.peer) {
            match e.state {
                State::Opening if we_win && rank(e.meta.path) >= rank(meta.path) => {
                    return Err(Blocked::UnderWay);
                }
                State::Offered => offered += 1,
                State::Opening | State::Up(_) => {}
            }
        }
        if offered >= OFFERED_PER_PEER_MAX {
            return Err(Blocked::UnderWay);
        }
        if t.entries.len() >= self.max {
            return Err(Blocked::Full);
        }
        Ok(t.insert(meta, State::Offered))
    }

    /// The far end accepted our stream: whether to confirm it. It is up then.
    pub(crate) fn confirm_out(&self, meta: &Meta, now: Instant) -> bool {
        let mut t = self.lock();
        let they_win = meta.local > meta.peer;
        // Theirs that we said yes to is up over there before their yes to ours
        // can come, whichever of the two words is read first.
        let better = t.of(meta.kind, meta.peer).filter(|e| rank(e.meta.path) >= rank(meta.path)).any(|e| {
            match e.state {
                State::Up(_) => true,
                State::Offered => they_win,
                State::Opening => false,
            }
        });
        !better && Self::up(&mut t, meta, now)
    }

    /// The far end confirmed its stream: whether to keep it. It is up then.
    pub(crate) fn confirm_in(&self, meta: &Meta, now: Instant) -> bool {
        let mut t = self.lock();
        let overlapped = t.of(meta.kind, meta.peer).any(|e| match e.state {
            State::Up(at) => rank(e.meta.path) > rank(meta.path) && now.duration_since(at) < OVERLAP,
            State::Opening | State::Offered => false,
        });
        !overlapped && Self::up(&mut t, meta, now)
    }

    fn up(t: &mut Inner, meta: &Meta, now: Instant) -> bool {
        for e in t.of(meta.kind, meta.peer).filter(|e| e.meta.id != meta.id) {
            match e.state {
                State::Up(_) if rank(e.meta.path) < rank(meta.path) => {
                    e.outbox.finish_later(RELAYED_GRACE, DIRECT_STANDS);
                }
                State::Up(_) => e.outbox.cut(REPLACED),
                State::Opening | State::Offered => {}
            }
        }
        match t.entries.get_mut(&meta.id) {
            Some(e) => {
                e.state = State::Up(now);
                true
            }
            None => false,
        }
    }

    /// Forgets a link.
    pub(crate) fn remove(&self, id: LinkId) {
        let mut t = self.lock();
        if let Some(e) = t.entries.remove(&id) {
            let key = (e.meta.kind, e.meta.peer);
            if let Some(ids) = t.peers.get_mut(&key) {
                ids.retain(|i| *i != id);
                if ids.is_empty() {
                    t.peers.remove(&key);
                }
            }
        }
    }

    /// The queue of a link that is up.
    pub(crate) fn outbox(&self, id: LinkId) -> Option<Arc<Outbox>> {
        let t = self.lock();
        let e = t.entries.get(&id)?;
        matches!(e.state, State::Up(_)).then(|| e.outbox.clone())
    }

    /// The best path on which a link to that peer is up.
    pub(crate) fn best(&self, kind: LinkKind, peer: PeerKey) -> Option<Path> {
        let t = self.lock();
        t.of(kind, peer)
            .filter(|e| matches!(e.state, State::Up(_)))
            .map(|e| e.meta.path)
            .max_by_key(|p| rank(*p))
    }

    /// The links of a kind that are up on a connection.
    pub(crate) fn up_on(&self, kind: LinkKind, peer: PeerKey, conn: ConnectionId) -> Vec<LinkId> {
        self.lock()
            .of(kind, peer)
            .filter(|e| e.meta.conn == conn && matches!(e.state, State::Up(_)))
            .map(|e| e.meta.id)
            .collect()
    }

    /// Whether a stream of theirs waits for their confirmation.
    pub(crate) fn offered(&self, kind: LinkKind, peer: PeerKey) -> bool {
        self.lock().of(kind, peer).any(|e| e.state == State::Offered)
    }

    /// Whether a link uses this connection or is about to.
    pub(crate) fn uses(&self, kind: LinkKind, peer: PeerKey, conn: ConnectionId) -> bool {
        self.lock().of(kind, peer).any(|e| e.meta.conn == conn)
    }

    /// The connection of a link is gone. Its stream is not always told (a
    /// connection that libp2p closes itself leaves it waiting for ever), so the
    /// link is ended from here, after what has arrived could be read.
    pub(crate) fn lost(&self, kind: LinkKind, peer: PeerKey, conn: ConnectionId) {
        for e in self.lock().of(kind, peer).filter(|e| e.meta.conn == conn) {
            e.outbox.finish_later(LOST_GRACE, LOST);
        }
    }

    /// Nobody answers on a connection: its links end at once.
    pub(crate) fn dead(&self, kind: LinkKind, peer: PeerKey, conn: ConnectionId) {
        for e in self.lock().of(kind, peer).filter(|e| e.meta.conn == conn) {
            e.outbox.cut(SILENT);
        }
    }

    /// Cuts all links of a kind.
    pub(crate) fn cut_all(&self, kind: LinkKind, reason: &'static str) {
        for e in self.lock().entries.values().filter(|e| e.meta.kind == kind) {
            e.outbox.cut(reason);
        }
    }

    /// How many of a kind there are, those being made included.
    pub(crate) fn count(&self, kind: LinkKind) -> usize {
        self.lock().entries.values().filter(|e| e.meta.kind == kind).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Push;

    const A: PeerKey = PeerKey([1; 32]);
    const B: PeerKey = PeerKey([2; 32]);

    fn meta(local: PeerKey, peer: PeerKey, path: Path) -> Meta {
        Meta::new(LinkKind::Peer, peer, local, path, ConnectionId::new_unchecked(1), None)
    }

    #[test]
    fn both_open_at_once_the_smaller_keys_stream_stands() {
        let (at_a, at_b) = (Links::new(8), Links::new(8));
        let now = Instant::now();
        let (a_out, b_out) = (meta(A, B, Path::DirectQuic), meta(B, A, Path::DirectTcp));
        at_a.begin_open(&a_out).unwrap();
        at_b.begin_open(&b_out).unwrap();
        // A (smaller) refuses B's stream, B takes A's.
        assert_eq!(at_a.offer(&meta(A, B, Path::DirectTcp)).err(), Some(Blocked::UnderWay));
        let b_in = meta(B, A, Path::DirectQuic);
        at_b.offer(&b_in).unwrap();
        assert!(at_a.confirm_out(&a_out, now));
        assert!(at_b.confirm_in(&b_in, now));
        // A late yes to B's own stream is not confirmed any more.
        assert!(!at_b.confirm_out(&b_out, now));
        assert_eq!(at_a.begin_open(&meta(A, B, Path::DirectQuic)).err(), Some(Blocked::Stands));
    }

    #[test]
    fn a_stream_that_crosses_the_smaller_keys_first_link_does_not_replace_it() {
        let (at_a, at_b) = (Links::new(8), Links::new(8));
        let now = Instant::now();
        let path = Path::Circuit;
        let (a_out, b_in, b_out, a_in) =
            (meta(A, B, path), meta(B, A, path), meta(B, A, path), meta(A, B, path));
        at_a.begin_open(&a_out).unwrap();
        at_b.begin_open(&b_out).unwrap();
        at_b.offer(&b_in).unwrap();
        // A's link is up there before B's stream comes, which A takes for a new one.
        assert!(at_a.confirm_out(&a_out, now));
        at_a.offer(&a_in).unwrap();
        // A's yes to it overtakes A's word that its own is up.
        assert!(!at_b.confirm_out(&b_out, now));
        assert!(at_b.confirm_in(&b_in, now));
        for carries in [at_a.outbox(a_out.id), at_b.outbox(b_in.id)] {
            assert_eq!(carries.unwrap().push(vec![1]), Push::Queued);
        }
    }

    #[test]
    fn a_direct_link_retires_the_relayed_one_and_not_the_other_way_round() {
        let t = Links::new(8);
        let now = Instant::now();
        let relayed = meta(A, B, Path::Circuit);
        t.begin_open(&relayed).unwrap();
        assert!(t.confirm_out(&relayed, now));
        let direct = meta(A, B, Path::DirectTcp);
        t.begin_open(&direct).unwrap();
        assert!(t.confirm_out(&direct, now));
        assert!(t.outbox(relayed.id).unwrap().due().is_some());
        assert_eq!(t.best(LinkKind::Peer, B), Some(Path::DirectTcp));
        // A relayed stream that was on its way is dropped, a later one stands:
        // its opener has lost the direct link.
        let late = meta(A, B, Path::Circuit);
        t.offer(&late).unwrap();
        assert!(!t.confirm_in(&late, now));
        assert!(t.confirm_in(&late, now + OVERLAP));
    }

    #[test]
    fn everything_is_bounded_and_forgotten() {
        let t = Links::new(3);
        for _ in 0..OFFERED_PER_PEER_MAX {
            t.offer(&meta(A, B, Path::DirectTcp)).unwrap();
        }
        assert_eq!(t.offer(&meta(A, B, Path::DirectTcp)).err(), Some(Blocked::UnderWay));
        let third = meta(B, A, Path::DirectTcp);
        t.offer(&third).unwrap();
        assert_eq!(t.offer(&meta(A, PeerKey([9; 32]), Path::DirectTcp)).err(), Some(Blocked::Full));
        t.remove(third.id);
        assert_eq!(t.count(LinkKind::Peer), 2);
        assert!(t.outbox(third.id).is_none());
    }
}
