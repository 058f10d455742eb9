//! Transport identities: Ed25519 seeds, the keys that contacts and relays
//! know, libp2p PeerIds. Keys cross the border to libp2p as bytes only.

use kith_wire::crypto::{Secret, derive};
use kith_wire::ids::PeerKey;
use kith_wire::labels::{TRANSPORT_RELAY, TRANSPORT_RELAY_TURN};
use libp2p::PeerId;
use libp2p::identity::{self, Keypair};

use crate::error::OverlayError;

/// Seconds in a week.
const WEEK_S: u64 = 7 * 24 * 60 * 60;

/// The key pair of a seed.
pub(crate) fn keypair(seed: &Secret) -> Result<Keypair, OverlayError> {
    let mut bytes = *seed.expose();
    // The constructor wipes the buffer that it is given.
    Keypair::ed25519_from_bytes(&mut bytes).map_err(|_| OverlayError::Key)
}

/// The public half of a key pair; `None` if it is not Ed25519.
pub(crate) fn public(keypair: &Keypair) -> Option<PeerKey> {
    keypair.public().try_into_ed25519().ok().map(|k| PeerKey(k.to_bytes()))
}

/// The public transport key of a seed: what contacts (or clients) know.
pub fn public_key(seed: &Secret) -> Result<PeerKey, OverlayError> {
    public(&keypair(seed)?).ok_or(OverlayError::Key)
}

/// libp2p's name for a transport key; `None` if the bytes are no curve point.
pub(crate) fn peer_id(key: &PeerKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The transport key inside a PeerId; `None` if it is not an Ed25519 one.
pub(crate) fn peer_key(peer: &PeerId) -> Option<PeerKey> {
    let key = identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    key.try_into_ed25519().ok().map(|k| PeerKey(k.to_bytes()))
}

/// libp2p's text form of a transport key (`12D3Koo…`), as it stands after
/// `/p2p/` in a multiaddr; `None` if the bytes are no curve point.
#[must_use]
pub fn peer_id_text(key: &PeerKey) -> Option<String> {
    peer_id(key).map(|p| p.to_base58())
}

/// The transport key in libp2p's text form of a PeerId.
#[must_use]
pub fn peer_key_from_text(text: &str) -> Option<PeerKey> {
    peer_key(&text.parse().ok()?)
}

/// A throw-away key towards one relay, and for how long it is still used.
pub(crate) struct ThrowAway {
    /// Seed of the key.
    pub(crate) seed: Secret,
    /// Seconds until the next one takes its place.
    pub(crate) left_s: u64,
}

/// The throw-away key towards `relay` at `unix_s`: another one for each relay
/// and each week. When the week turns is drawn per relay, so that a node does
/// not change all its keys (and thereby tie them together) at one moment.
pub(crate) fn throw_away(seed: &Secret, relay: &PeerKey, unix_s: u64) -> ThrowAway {
    let turn = derive(seed, TRANSPORT_RELAY_TURN, &relay.0);
    let mut offset = [0; 8];
    offset.copy_from_slice(&turn.expose()[..8]);
    let shifted = unix_s.saturating_add(u64::from_be_bytes(offset) % WEEK_S);
    let week = shifted / WEEK_S;
    let mut context = relay.0.to_vec();
    context.extend_from_slice(&week.to_be_bytes());
    ThrowAway { seed: derive(seed, TRANSPORT_RELAY, &context), left_s: WEEK_S - shifted % WEEK_S }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cross_to_peer_ids_and_back() {
        let key = public_key(&Secret::new([3; 32])).unwrap();
        let peer = peer_id(&key).unwrap();
        assert_eq!(peer_key(&peer), Some(key));
        assert_eq!(peer_key_from_text(&peer_id_text(&key).unwrap()), Some(key));
        assert_eq!(peer_key_from_text("nonsense"), None);
    }

    #[test]
    fn throw_away_keys_differ_by_relay_and_week_and_last_a_week() {
        let seed = Secret::new([9; 32]);
        let (a, b) = (PeerKey([1; 32]), PeerKey([2; 32]));
        let now = 1_790_000_000;
        let first = throw_away(&seed, &a, now);
        assert!(first.left_s > 0 && first.left_s <= WEEK_S);
        assert!(first.seed != throw_away(&seed, &b, now).seed);
        assert!(first.seed == throw_away(&seed, &a, now + first.left_s - 1).seed);
        assert!(first.seed != throw_away(&seed, &a, now + first.left_s).seed);
        assert!(first.seed != throw_away(&Secret::new([8; 32]), &a, now).seed);
    }
}
