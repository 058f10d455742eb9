//! What a node holds in memory only: links, relay sessions, indexes of stored
//! rows, deadlines. All of it can be thrown away and rebuilt.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Read, StoreError};
use kith_wire::ids::{AccountId, DeviceId, FileId, GroupId, PeerKey, RelayId};
use kith_wire::net::{LinkId, Mapping, NetCommand};

use crate::api::Event;
use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::identity::Identity;
use crate::links::Links;
use crate::outbox::Outbox;
use crate::relays::Relays;
use crate::{people, rows, view};

/// The first wait between dials, ms.
const DIAL_FIRST_MS: u64 = 2_000;
/// The longest, ms.
const DIAL_LONGEST_MS: u64 = 600_000;
/// The longest while a relay of theirs is linked, ms: whoever comes back to it
/// dials from there, and what they say there is a sign of life.
const DIAL_MEETING_MS: u64 = 3_600_000;
/// Waits double up to this one, ms; longer ones grow fourfold.
const DIAL_DOUBLES_MS: u64 = 60_000;
/// So many dials in a row reckon with somebody who is just starting.
const PATIENT_DIALS: u32 = 3;
/// Who is dialled out of turn was not dialled for so long, ms.
const OUT_OF_TURN_MS: u64 = 10_000;

/// The longest wait before a relay is tried again, ms, while it has not been
/// away for very long: everybody is back soon after it returns.
const RELAY_BACKOFF_MS: u64 = 16_000;
/// So many failures later it is tried as rarely as a device.
const RELAY_TRIES: u32 = 100;

/// Devices that are dialled by turns.
const DIALS_MAX: usize = 1_024;

/// In-memory state.
pub(crate) struct Live {
    pub links: Links,
    pub relays: Relays,
    pub outbox: Outbox,
    pub dials: BTreeMap<DeviceId, Dial>,
    /// Transport keys of the cards that we hold.
    pub directory: BTreeMap<PeerKey, (DeviceId, AccountId)>,
    /// Relays of the cards that we hold.
    pub card_relays: BTreeMap<DeviceId, BTreeSet<RelayId>>,
    /// Own addresses as the overlay reports them.
    pub addrs: Vec<String>,
    /// What the router in front does with addresses.
    pub mapping: Mapping,
    /// Whether a relay that called back got through.
    pub inbound: Option<bool>,
    /// Why devices were last not reached; only of those that are dialled.
    pub dial_reasons: BTreeMap<DeviceId, String>,
    /// Deadlines.
    pub timers: Timers,
    /// Commands for the overlay, released after the commit.
    pub net: Vec<NetCommand>,
    /// Events for the UI, released after the commit.
    pub events: Vec<Event>,
    /// One line per ciphertext made, released after the commit.
    #[cfg(feature = "test-trace")]
    pub traces: Vec<String>,
    /// Messages whose state changed; each is shown once per burst.
    pub touched: BTreeSet<(GroupId, u64)>,
    /// Conversations that changed; each is shown once per burst.
    pub changed: BTreeSet<GroupId>,
    /// The network view changed.
    pub network_changed: bool,
    /// People that changed; each is shown once per burst.
    pub people_changed: BTreeSet<AccountId>,
    /// Links whose far end became proven by something learnt.
    pub newly_proven: Vec<(LinkId, DeviceId)>,
    /// Own keys or profile changed.
    pub me_changed: bool,
    /// Adds that wait for a key package or for their moment.
    pub adds: crate::membership::Adds,
    /// What this device does for its groups by itself.
    pub duties: crate::duty::Duties,
    /// What was listened to since the start.
    pub heard: crate::heard::Heard,
    /// Who was found lacking what this device said.
    pub lacking: crate::lacking::Lacking,
    /// Files that are wanted, and what is to be done about them.
    pub files: crate::files::Files,
    /// Calls that ring or are talked in.
    pub calls: crate::calls::machine::Machine,
    pub settings: view::Settings,
    /// Until then something is going on: a relay that falls silent is noticed
    /// soon, monotonic ms.
    pub attentive_until: u64,
    /// When links to people were last looked at, monotonic ms.
    pub checked_ms: u64,
    /// Direct links are allowed at all (configuration).
    pub direct_allowed: bool,
}

/// When a device is dialled next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dial {
    pub next_at: u64,
    backoff_ms: u64,
    failures: u32,
    failed_at: u64,
    /// The device has shown that it is there while it was being dialled.
    seen: bool,
    pub dialling: bool,
    /// As in [`NetCommand::Dial`].
    pub patient: bool,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Dial people's devices whose time has come.
    Dials,
    /// Dial relays whose time has come.
    RelayDials,
    /// Send own mark of a group: acknowledgements and the vote.
    Mark(GroupId),
    /// Compare notes with linked members of a group.
    Sync(GroupId),
    /// Send Welcomes of a settled commit.
    Welcome(GroupId),
    /// Do what is due in a group.
    Duty(GroupId),
    /// See who lacks what was said here.
    Lacking(GroupId),
    /// A group was listened to for long enough.
    Listened(GroupId),
    /// Ask again for key packages.
    Adds,
    /// Give people the own card if it changed.
    Card,
    /// Keep key pools at relays filled and cards fresh.
    Upkeep,
    /// Ask relays again that refused something.
    Refused,
    /// See whether relays are to keep a file.
    Deposit(FileId),
    /// Ask relays again that did not take a file.
    DepositAgain(FileId),
    /// End calls whose time has run out.
    Calls,
    /// Hold receipts against the relays that signed them.
    Audit,
    /// See whether relays still answer.
    Pulse,
    /// See which relays have been away for long.
    Standing,
    /// Renew the credentials of a relay's TURN server.
    Turn(RelayId),
}

/// Deadlines, monotonic ms, one for each thing.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(u64, Timer)>,
    of: BTreeMap<Timer, u64>,
}

impl Timers {
    fn set(&mut self, mono_ms: u64, timer: Timer) {
        match self.of.get(&timer) {
            Some(at) if *at <= mono_ms => return,
            Some(later) => {
                self.by_time.remove(&(*later, timer));
            }
            None => {}
        }
        self.of.insert(timer, mono_ms);
        self.by_time.insert((mono_ms, timer));
    }

    /// The earliest.
    pub(crate) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out what is due.
    pub(crate) fn due(&mut self, mono_ms: u64) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some((at, timer)) = self.by_time.first().copied().filter(|(at, _)| *at <= mono_ms) {
            self.by_time.remove(&(at, timer));
            self.of.remove(&timer);
            due.push(timer);
        }
        due
    }
}

impl Live {
    /// Sets a deadline; an earlier one for the same thing stays.
    pub(crate) fn at(&mut self, mono_ms: u64, timer: Timer) {
        self.timers.set(mono_ms, timer);
    }

    /// Everything rebuilt from the store.
    pub(crate) fn load(r: &dyn Read, direct_allowed: bool, me: &Identity) -> Result<Self, StoreError> {
        let mut live = Self {
            links: Links::default(),
            relays: Relays::load(r)?,
            outbox: Outbox::load(r)?,
            dials: BTreeMap::new(),
            directory: BTreeMap::new(),
            card_relays: BTreeMap::new(),
            addrs: Vec::new(),
            mapping: Mapping::default(),
            inbound: None,
            dial_reasons: BTreeMap::new(),
            timers: Timers::default(),
            net: Vec::new(),
            events: Vec::new(),
            #[cfg(feature = "test-trace")]
            traces: Vec::new(),
            touched: BTreeSet::new(),
            changed: BTreeSet::new(),
            network_changed: false,
            people_changed: BTreeSet::new(),
            newly_proven: Vec::new(),
            me_changed: false,
            adds: crate::membership::Adds::load(r)?,
            duties: crate::duty::Duties::default(),
            heard: crate::heard::Heard::default(),
            lacking: crate::lacking::Lacking::default(),
            files: crate::files::Files::default(),
            calls: crate::calls::machine(me),
            settings: rows::settings(r)?,
            attentive_until: 0,
            checked_ms: 0,
            direct_allowed,
        };
        live.reserve();
        Ok(live)
    }

    /// Notes under which key a ciphertext was made, and of which event:
    /// `STATE LEAF GENERATION DIGEST EVENT`.
    #[cfg(feature = "test-trace")]
    pub(crate) fn trace(&mut self, sent: &kith_mls::SentEvent) {
        use sha2::Digest as _;
        let digest: String =
            sha2::Sha256::digest(&sent.envelope).iter().take(16).map(|b| format!("{b:02x}")).collect();
        let trace = &sent.trace;
        let (state, event) = (trace.state.hex(), sent.id.hex());
        self.traces.push(format!("{state} {} {} {digest} {event}", trace.leaf, trace.generation));
    }

    /// Keeps circuits at own relays, if direct links are wanted.
    pub(crate) fn reserve(&mut self) {
        if self.direct() {
            self.relays.reserve(&mut self.net);
        }
    }

    /// Reads the cards of an account again and dials its devices.
    pub(crate) fn relearn(&mut self, ctx: &Ctx<'_>, account: &AccountId) -> Result<(), Reject> {
        for reach in people::reaches_of(&ctx.tx, account)? {
            self.learn(ctx, &reach);
        }
        Ok(())
    }

    /// Reads all cards again.
    pub(crate) fn relearn_all(&mut self, ctx: &Ctx<'_>) -> Result<(), Reject> {
        for reach in people::reaches(&ctx.tx)? {
            self.learn(ctx, &reach);
        }
        Ok(())
    }

    fn learn(&mut self, ctx: &Ctx<'_>, reach: &people::Reach) {
        self.directory.retain(|_, (device, _)| *device != reach.device);
        self.directory.insert(reach.transport, (reach.device, reach.account));
        self.card_relays.insert(reach.device, reach.relays.iter().map(|r| r.id).collect());
        // Its inbox may be reachable now.
        self.outbox.unpark_inbox(&reach.device);
        let whom = (reach.device, reach.account);
        for link in self.links.expect(&reach.transport, whom, ctx.me, &mut self.net) {
            self.newly_proven.push((link, reach.device));
        }
        if !reach.addrs.is_empty() {
            self.want_dial(&reach.device, ctx.now.mono_ms);
        }
    }

    /// A link to this device is wanted, if there is none.
    pub(crate) fn want_dial(&mut self, device: &DeviceId, mono_ms: u64) {
        if self.links.of_device(device).is_some() || self.dials.len() >= DIALS_MAX {
            return;
        }
        let dial = self.dials.entry(*device).or_insert_with(|| Dial::now(mono_ms));
        if !dial.dialling {
            let at = dial.next_at.max(mono_ms);
            self.at(at, Timer::Dials);
        }
    }

    /// A device has shown that it is there: its next dial need not wait.
    pub(crate) fn dial_soon(&mut self, device: &DeviceId, mono_ms: u64) {
        if let Some(dial) = self.dials.get_mut(device).filter(|d| !d.dialling) {
            *dial = Dial::now(mono_ms);
        }
        self.want_dial(device, mono_ms);
    }

    /// A device has just said something somewhere, can be met at a relay again,
    /// or is wanted by the person: if it is not reached, its next dial is now, or
    /// as soon as the last one is long enough ago. The waits after that stay as
    /// long as they were.
    pub(crate) fn look_for(&mut self, device: &DeviceId, mono_ms: u64) {
        if self.links.of_device(device).is_none()
            && let Some(dial) = self.dials.get_mut(device)
            && let Some(at) = dial.out_of_turn(mono_ms)
        {
            self.at(at, Timer::Dials);
        }
    }

    /// The link to a relay stands: those who come to it may be there.
    pub(crate) fn met_at(&mut self, relay: &RelayId, mono_ms: u64) {
        let there: Vec<DeviceId> =
            self.card_relays.iter().filter(|(_, at)| at.contains(relay)).map(|(device, _)| *device).collect();
        for device in there {
            self.look_for(&device, mono_ms);
        }
    }

    /// Whether a relay is linked that this device comes to.
    pub(crate) fn can_meet(&self, device: &DeviceId) -> bool {
        self.card_relays.get(device).is_some_and(|at| at.iter().any(|r| self.relays.is_linked(r)))
    }

    /// Relays that hold a device's inbox.
    pub(crate) fn card_relays(&self, device: &DeviceId) -> BTreeSet<RelayId> {
        self.card_relays.get(device).cloned().unwrap_or_default()
    }

    /// Tells the person something.
    pub(crate) fn notice(&mut self, conversation: Option<GroupId>, code: &str, message: String) {
        self.events.push(Event::Notice {
            conversation: conversation.map(|c| c.hex()),
            code: code.into(),
            message,
        });
    }

    /// Direct links may be used.
    pub(crate) fn direct(&self) -> bool {
        self.direct_allowed && self.settings.direct
    }
}

impl Dial {
    pub(crate) fn now(mono_ms: u64) -> Self {
        Self {
            next_at: mono_ms,
            backoff_ms: DIAL_FIRST_MS,
            failures: 0,
            failed_at: 0,
            seen: false,
            dialling: false,
            patient: true,
        }
    }
    /// A dial failed; `jitter` in 0..256 spreads the next one. `meeting`: the
    /// device can be met at a relay.
    pub(crate) fn failed(&mut self, mono_ms: u64, jitter: u8, meeting: bool) {
        let longest = if meeting { DIAL_MEETING_MS } else { DIAL_LONGEST_MS };
        self.fail(mono_ms, jitter, longest);
        self.patient = self.failures < PATIENT_DIALS;
        if std::mem::take(&mut self.seen) {
            self.out_of_turn(mono_ms);
        }
    }
    /// The same for a relay.
    pub(crate) fn relay_failed(&mut self, mono_ms: u64, jitter: u8) {
        let longest = if self.failures < RELAY_TRIES { RELAY_BACKOFF_MS } else { DIAL_LONGEST_MS };
        self.fail(mono_ms, jitter, longest);
    }
    fn fail(&mut self, mono_ms: u64, jitter: u8, longest_ms: u64) {
        self.dialling = false;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = mono_ms;
        let wait = self.backoff_ms.min(longest_ms);
        self.next_at = mono_ms + wait + wait * u64::from(jitter) / 512;
        let growth = if wait < DIAL_DOUBLES_MS { 2 } else { 4 };
        self.backoff_ms = (wait * growth).min(longest_ms);
    }
    /// The device is there: when its next dial is, if that is sooner than it would
    /// have been. One that is under way may be too early, and is followed by another.
    fn out_of_turn(&mut self, mono_ms: u64) -> Option<u64> {
        if self.dialling {
            self.seen = true;
            return None;
        }
        let at = mono_ms.max(self.failed_at + OUT_OF_TURN_MS);
        if self.failures == 0 || self.next_at <= at {
            return None;
        }
        self.next_at = at;
        self.patient = true;
        Some(at)
    }
    /// A link ended that had stood: try again soon.
    pub(crate) fn lost(&mut self, mono_ms: u64, jitter: u8) {
        *self = Self::now(mono_ms + 200 + u64::from(jitter) * 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of an absent device's dials in the first `hours`.
    fn dials(meeting: bool, hours: u64) -> Vec<u64> {
        let mut dial = Dial::now(0);
        let mut at = Vec::new();
        while dial.next_at < hours * 3_600_000 {
            at.push(dial.next_at);
            dial.failed(dial.next_at, 0, meeting);
        }
        at
    }

    #[test]
    fn who_stays_away_is_dialled_ever_more_seldom() {
        let first = [0, 2_000, 6_000, 14_000, 30_000, 62_000, 126_000, 382_000, 1_406_000];
        assert_eq!(dials(true, 1), first);
        assert_eq!(dials(true, 100).len() - dials(true, 99).len(), 1, "once an hour");
        assert_eq!(dials(false, 100).len() - dials(false, 99).len(), 6);
        // What was long because of a relay is short again without it.
        let mut dial = Dial::now(0);
        for _ in 0..20 {
            dial.failed(0, 0, true);
        }
        dial.failed(0, 0, false);
        assert_eq!(dial.next_at, DIAL_LONGEST_MS);
    }

    #[test]
    fn a_sign_of_life_brings_the_next_dial_and_no_shorter_waits() {
        let mut dial = Dial::now(0);
        assert_eq!(dial.out_of_turn(0), None, "it is due");
        let away = {
            for _ in 0..10 {
                dial.failed(0, 0, true);
            }
            dial
        };
        assert!(!away.patient);
        for (sign, next) in [(1, OUT_OF_TURN_MS), (OUT_OF_TURN_MS + 1, OUT_OF_TURN_MS + 1)] {
            let mut dial = away;
            assert_eq!(dial.out_of_turn(sign), Some(next));
            assert!(dial.patient && dial.next_at == next);
            assert_eq!(dial.out_of_turn(sign), None, "it comes already");
            dial.failed(next, 0, true);
            assert!(!dial.patient);
            assert_eq!(dial.next_at, next + DIAL_MEETING_MS);
        }
    }

    #[test]
    fn a_sign_of_life_during_a_dial_brings_one_more() {
        let mut dial = Dial::now(0);
        for _ in 0..10 {
            dial.failed(0, 0, true);
        }
        dial.dialling = true;
        assert_eq!(dial.out_of_turn(5_000), None);
        dial.failed(7_000, 0, true);
        assert!(dial.patient && dial.next_at == 7_000 + OUT_OF_TURN_MS);
        dial.dialling = true;
        dial.failed(20_000, 0, true);
        assert_eq!(dial.next_at, 20_000 + DIAL_MEETING_MS, "it counts once");
    }
}
