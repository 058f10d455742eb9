//! Chunks of files at relays: put under a group's topic, got by name.

use kith_wire::ids::{BlobId, RelayId, TopicId};
use kith_wire::net::NetCommand;
use kith_wire::relay::{CHUNK_BYTES_MAX, Call};
use kith_wire::topic::Right;

use super::Relays;
use super::session::Pending;
use crate::files::port::Token;

impl Relays {
    /// Puts a chunk to a relay, under a topic that we hold the keys of.
    pub(crate) fn put_chunk(
        &mut self,
        relay: &RelayId,
        topic: TopicId,
        (id, bytes): (BlobId, Vec<u8>),
        token: Token,
        net: &mut Vec<NetCommand>,
    ) {
        let (Some(s), Some(t)) = (self.sessions.get_mut(relay).filter(|s| s.ready), self.topics.get(&topic))
        else {
            self.dropped.push(token);
            return;
        };
        if s.writable.insert(topic) {
            s.open(&t.keys, Right::Write, net);
        }
        let keep_s = s.keep_s();
        s.call(Call::PutChunk { topic, id, bytes, keep_s }, Pending::PutChunk(token), net);
    }

    /// Gets a chunk from a relay.
    pub(crate) fn get_chunk(
        &mut self,
        relay: &RelayId,
        (id, len): (BlobId, u64),
        token: Token,
        net: &mut Vec<NetCommand>,
    ) {
        match self.sessions.get_mut(relay).filter(|s| s.ready) {
            Some(s) => {
                let call = Call::GetChunk { id, from: 0, len: len.min(CHUNK_BYTES_MAX as u64) };
                s.call(call, Pending::GetChunk(token), net);
            }
            None => self.dropped.push(token),
        }
    }

    /// Questions about chunks that were not or will not be answered.
    pub(crate) fn take_dropped(&mut self) -> Vec<Token> {
        core::mem::take(&mut self.dropped)
    }

    /// Bytes of one topic that a relay lets one sender fill, by its statement.
    pub(crate) fn share_bytes(&self, relay: &RelayId) -> Option<u64> {
        self.sessions.get(relay)?.statement.as_ref().map(|s| s.share_bytes)
    }
}
