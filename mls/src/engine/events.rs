//! Events: sent once with a number of their own, received in any order.

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Read, Table};
use kith_wire::group::{Event, EventEnvelope, SignedEvent, kinds};
use kith_wire::ids::{EventId, StateId};
use kith_wire::limits;
use kith_wire::object::Versioned as _;
use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    MlsMessageIn, ProcessMessageError, ProcessedMessageContent, ProtocolMessage, Sender, ValidationError,
};

use super::ctx::{Ctx, DeviceSigner, broken, provider};
use crate::EngineError;
use crate::api::{Outcome, ReceivedEvent, Resealed, SentEvent};
use crate::rows::{self, EventRow, Member};

/// A remote clock moves the local one by this much at most.
const HLC_PULL_MS: u64 = 60_000;
/// A remote clock further ahead than this is not believed.
const HLC_AHEAD_MS: u64 = 600_000;
/// Own events that are looked through for those on a branch that lost.
const STRAYS_MAX: usize = 4096;
/// Unix milliseconds that fit a hybrid clock.
const HLC_MS_MAX: u64 = (1 << 48) - 1;

fn hlc_at(ms: u64) -> u64 {
    ms.min(HLC_MS_MAX) << 16
}

impl Ctx<'_, '_> {
    /// Advances the hybrid clock for an own object.
    pub(super) fn tick(&mut self) -> u64 {
        let now = hlc_at(self.now);
        let row = self.row_mut();
        row.hlc = row.hlc.saturating_add(1).max(now);
        row.hlc
    }

    pub(super) fn send(&mut self, event_type: u16, content: &[u8]) -> Result<SentEvent, EngineError> {
        if content.len() > limits::EVENT_BODY_BYTES_MAX {
            return Err(EngineError::Refused("the message is longer than 64 KiB: send it as a file"));
        }
        let tip = self.tip_as_member()?;
        if !self.row().open.is_empty() && !mutant::on(Mutant::SendOnTainted) {
            return Err(EngineError::Tainted);
        }
        let mark = if self.row().mark_at == Some(tip.id) { None } else { Some(self.make_mark()?) };
        let hlc = self.tick();
        let me = self.me();
        let gid = self.gid;
        let row = self.row_mut();
        row.seq += 1;
        let event = Event {
            kind: kinds::EVENT,
            version: 1,
            device: me,
            seq: row.seq,
            prev: row.last_event,
            deps: row.deps.take(),
            hlc,
            event_type,
            content: content.to_vec(),
        };
        let signed = SignedEvent::sign(&event, gid, tip.id, &self.keys.signing);
        let id = signed.id();
        self.row_mut().last_event = Some(id);
        self.put_event(&signed, id, &event, hlc, Some(tip.id));
        let mut sent = self.encrypt(&signed, id, event.seq, hlc, tip.id)?;
        sent.mark = mark;
        Ok(sent)
    }

    fn put_event(
        &mut self,
        signed: &SignedEvent,
        id: EventId,
        event: &Event,
        hlc: u64,
        sealed: Option<StateId>,
    ) {
        let name = rows::pair(&self.gid, &event.device.0);
        let row = EventRow { bare: signed.to_bare(), id, at: signed.at, hlc, sealed };
        rows::put(self.tx, Key::at(Table::Events, &name, &event.seq.to_be_bytes()), &row);
        let index = rows::pair(&self.gid, &id.0);
        rows::put(self.tx, Key::of(Table::Events, &index), &(event.device, event.seq));
    }

    /// Encrypts an event in a state that this device is in.
    fn encrypt(
        &mut self,
        signed: &SignedEvent,
        id: EventId,
        seq: u64,
        hlc: u64,
        state: StateId,
    ) -> Result<SentEvent, EngineError> {
        let payload = signed.to_payload(state);
        let (crypto, rand, keys) = (self.crypto, self.rand, self.keys);
        let loaded = self.load(state)?.ok_or_else(|| broken("the tip's keys are missing"))?;
        let message = loaded
            .group
            .create_message(&provider(crypto, rand, &loaded.image), &DeviceSigner(keys), &payload)
            .map_err(broken)?
            .tls_serialize_detached()
            .map_err(broken)?;
        #[cfg(feature = "test-trace")]
        let trace = loaded
            .sender_data
            .as_ref()
            .and_then(|secret| crate::sender_data::of(crypto, secret, &message))
            .map(|used| crate::trace::Trace { state, leaf: used.leaf, generation: used.generation })
            .ok_or_else(|| broken("a ciphertext's sender data does not open"))?;
        if !mutant::on(Mutant::ImageRewound) {
            self.save(state)?;
        }
        if let Some((_, spent)) = self.row_mut().held.iter_mut().find(|(held, _)| *held == state) {
            *spent = spent.saturating_add(1);
        }
        Ok(SentEvent {
            id,
            seq,
            hlc,
            envelope: EventEnvelope::new(state, message).to_bytes(),
            at: signed.at,
            mark: None,
            #[cfg(feature = "test-trace")]
            trace,
        })
    }

    /// An event of any device, encrypted anew under the tip, if its audience
    /// allows.
    pub(super) fn reseal(&mut self, id: EventId) -> Result<Resealed, EngineError> {
        let tip = self.tip_as_member()?;
        let (device, seq, event) = rows::event(self.tx, &self.gid, &id)?.ok_or(EngineError::UnknownEvent)?;
        let signed = SignedEvent::from_bare(&event.bare)?;
        // It came from its author, on a branch that is not known here: whoever
        // it was written for has it from there.
        let Some(audience) = self.state(&signed.at)? else { return Ok(Resealed::Only(Vec::new())) };
        let me = self.me();
        if !self.row().open.is_empty() {
            return Err(EngineError::Tainted);
        }
        if tip.members.iter().all(|m| audience.has_account(&m.account)) {
            let mark = if self.row().mark_at == Some(tip.id) { None } else { Some(self.make_mark()?) };
            let mut sent = self.encrypt(&signed, id, seq, event.hlc, tip.id)?;
            sent.mark = mark;
            if device == me {
                self.row_mut().stray.remove(&seq);
                let name = rows::pair(&self.gid, &me.0);
                let row = EventRow { sealed: Some(tip.id), ..event };
                rows::put(self.tx, Key::at(Table::Events, &name, &seq.to_be_bytes()), &row);
            }
            return Ok(Resealed::Envelope(Box::new(sent)));
        }
        if device == me {
            self.row_mut().stray.remove(&seq);
        }
        let only = tip
            .members
            .iter()
            .filter(|m| audience.has_account(&m.account) && m.device != me && m.device != device);
        Ok(Resealed::Only(only.map(|m| m.device).collect()))
    }

    /// Own events that were last encrypted in any of these states are to be
    /// sent again.
    pub(super) fn lose_events(&mut self, states: &[StateId]) -> Result<(), EngineError> {
        if states.is_empty() || mutant::on(Mutant::NothingResent) {
            return Ok(());
        }
        let name = rows::pair(&self.gid, &self.me().0);
        for (seq, value) in rows::numbered_down(self.tx, Table::Events, &name, STRAYS_MAX)? {
            let event: EventRow = rows::decode(&value)?;
            if event.sealed.is_some_and(|s| states.contains(&s)) {
                self.row_mut().stray.insert(seq);
            }
        }
        Ok(())
    }

    /// Names own events that are to be sent again, once the group takes any.
    pub(super) fn find_strays(&mut self) -> Result<(), EngineError> {
        let row = self.row();
        if row.stray.is_empty()
            || row.goal.is_some()
            || row.put_back
            || !row.open.is_empty()
            || !self.tip()?.row.me_in
        {
            return Ok(());
        }
        let name = rows::pair(&self.gid, &self.me().0);
        let mut events = Vec::new();
        for seq in self.row().stray.clone() {
            if let Some(value) = self.tx.get(Key::at(Table::Events, &name, &seq.to_be_bytes()))? {
                events.push(rows::decode::<EventRow>(&value)?.id);
            }
        }
        self.out.push(Outcome::Resend(events));
        Ok(())
    }

    pub(super) fn ingest_envelope(
        &mut self,
        envelope: &EventEnvelope,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let Some(state) = self.state(&envelope.state)? else { return self.orphan(envelope.state, bytes) };
        if !state.row.me_in {
            return self.reject("the message is not for this device");
        }
        let Ok(message) = MlsMessageIn::tls_deserialize_exact(envelope.message.as_slice()) else {
            return self.reject("the message is malformed");
        };
        let Ok(ProtocolMessage::PrivateMessage(message)) = message.try_into_protocol_message() else {
            return self.reject("the envelope holds something else than a message");
        };
        let (crypto, rand) = (self.crypto, self.rand);
        let Some(loaded) = self.load(state.id)? else {
            self.out.push(Outcome::Unreadable);
            return Ok(());
        };
        let processed = match loaded.group.process_message(&provider(crypto, rand, &loaded.image), message) {
            Ok(processed) => processed,
            Err(e) => {
                // Nothing was written; what is loaded may have moved on.
                self.unload(&state.id);
                self.out.push(decryption_outcome(&e));
                return Ok(());
            }
        };
        let sender = match processed.sender() {
            Sender::Member(leaf) => leaf.u32(),
            _ => return self.reject("the message comes from outside the group"),
        };
        let payload = match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(m) => m.into_bytes(),
            ProcessedMessageContent::OwnPrivateMessage => return self.meet_own(&state.id, &envelope.message),
            _ => {
                self.unload(&state.id);
                return self.reject("the message is no event");
            }
        };
        self.save(state.id)?;
        let Ok(signed) = SignedEvent::from_payload(&payload, self.gid, envelope.state) else {
            return self.reject("the message holds no event");
        };
        // Any member that holds an event may send it again, so that the leaf
        // that encrypted it proves membership only; the event proves its author.
        let Some(sender) = state.leaf(sender) else {
            return self.reject("the message comes from outside the group");
        };
        self.ingest_event(&signed, Some(sender))
    }

    /// A signed event: from an envelope that `sender` encrypted, or bare; then
    /// the caller has made sure that it comes from a member.
    pub(super) fn ingest_event(
        &mut self,
        signed: &SignedEvent,
        sender: Option<&Member>,
    ) -> Result<(), EngineError> {
        if signed.gid != self.gid {
            return self.reject("the event is for another group");
        }
        let Ok(event) = signed.raw.body::<Event>() else { return self.reject("the event is malformed") };
        // Where it was written need not be known if its author sends it again
        // by itself: it is a member where we are. So nothing is lost that was
        // said on a branch which left too early to be followed now.
        let at = self.state(&signed.at)?;
        let known_author = self.tip()?.device(&event.device).cloned();
        let author = match (&at, sender) {
            (Some(at), _) if !at.row.me_in => return self.reject("the event is not for this device"),
            (Some(at), _) => at.device(&event.device),
            (None, Some(sender)) if sender.device == event.device => Some(sender),
            (None, None) if self.from == Some(event.device) && known_author.is_some() => {
                known_author.as_ref()
            }
            (None, _) => return self.orphan(signed.at, &signed.to_bare()),
        };
        let account = author.map(|m| m.account);
        if event.device == self.me() {
            if event.seq > self.row().seq && signed.verify_by(&event.device).is_ok() {
                return self.put_back(event.seq);
            }
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let id = signed.id();
        let name = rows::pair(&self.gid, &event.device.0);
        let place = event.seq.to_be_bytes();
        let stored = match self.tx.get(Key::at(Table::Events, &name, &place))? {
            Some(bytes) => Some(rows::decode::<EventRow>(&bytes)?),
            None => None,
        };
        if stored.as_ref().is_some_and(|s| s.id == id) {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let Some(account) = account else { return self.reject("the event's author is not in the group") };
        if signed.verify_by(&event.device).is_err() {
            return self.reject("the event's signature is wrong");
        }
        if stored.is_some() {
            self.out.push(Outcome::Equivocation { device: event.device, number: event.seq });
            return Ok(());
        }
        if self.row().cuts.get(&event.device).is_some_and(|last| event.seq > *last) {
            return self.reject("the event was sent after its author had been removed");
        }
        let mut device = self.device(&event.device)?;
        let before = device.events.contiguous();
        if !device.events.insert(event.seq) {
            return self.reject("too many events of this device are missing: sync first");
        }
        let now_has = device.events.contiguous();
        let mark_n = device.mark_n;
        self.put_device(event.device, device);
        self.progress(event.device, before, now_has, mark_n);
        let (hlc, ahead) = self.observe(&event)?;
        self.put_event(signed, id, &event, hlc, None);
        let latest = self.now.saturating_add(HLC_AHEAD_MS);
        self.out.push(Outcome::Event(ReceivedEvent {
            id,
            device: event.device,
            account,
            seq: event.seq,
            hlc,
            wall_ms: (event.hlc >> 16).min(latest),
            ahead,
            event_type: event.event_type,
            content: event.content,
            at: signed.at,
            deps: event.deps,
        }));
        Ok(())
    }

    /// Moves the hybrid clock by what was received; answers the clock to
    /// order the event by. One far ahead comes right after what it follows.
    fn observe(&mut self, event: &Event) -> Result<(u64, bool), EngineError> {
        let now = self.now;
        let remote = event.hlc;
        if remote <= hlc_at(now.saturating_add(HLC_AHEAD_MS)) {
            let pulled = remote.min(hlc_at(now.saturating_add(HLC_PULL_MS)));
            if pulled > self.row().hlc {
                self.row_mut().hlc = pulled;
            }
            return Ok((remote, false));
        }
        let mut after = 0;
        let before = event.seq.checked_sub(1).map(|seq| (event.device, seq));
        let deps = event.deps.iter().map(|(d, s)| (*d, *s)).take(limits::DEVICES_PER_ACCOUNT_MAX);
        for (device, seq) in before.into_iter().chain(deps) {
            let name = rows::pair(&self.gid, &device.0);
            let place = seq.to_be_bytes();
            let key = Key::at(Table::Events, &name, &place);
            if let Some(bytes) = self.tx.get(key)? {
                after = after.max(rows::decode::<EventRow>(&bytes)?.hlc);
            }
        }
        let floor = if after == 0 { self.row().hlc.min(hlc_at(now)) } else { after };
        Ok((floor.saturating_add(1), true))
    }
}

fn decryption_outcome<E>(e: &ProcessMessageError<E>) -> Outcome {
    use MessageDecryptionError as M;
    use ProcessMessageError::{GroupStateError, ValidationError as V};
    match e {
        V(ValidationError::UnableToDecrypt(M::SecretTreeError(SecretTreeError::SecretReuseError))) => {
            Outcome::Known
        }
        V(ValidationError::UnableToDecrypt(M::SecretTreeError(
            SecretTreeError::TooDistantInThePast | SecretTreeError::TooDistantInTheFuture,
        )))
        | GroupStateError(_) => Outcome::Unreadable,
        _ => Outcome::Rejected("the message does not decrypt"),
    }
}
