//! Objects of every kind, changed, spliced, signed by an insider or made up,
//! come to a member of a real group. Nothing panics, no object leads to an
//! error, and afterwards the member and the group's owner talk as before.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arbitrary::Unstructured;
use kith_mls::{Add, Change, DeviceKeys};
use kith_store::MemoryStore;
use kith_wire::group::{
    BadCommit, ChainEnd, CommitEnvelope, Event, EventEnvelope, GroupExt, Hello, Mark, Object, Order,
    OrderKind, PackedReadd, ReaddReq, SignedEvent, Target, kinds,
};
use kith_wire::ids::{AccountId, CommitId, DeviceId, EventId, GroupId, StateId, TopicId};
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use kith_wire::{crypto, labels};
use sha2::{Digest as _, Sha256};

use crate::device::{Device, fair, keys, publish, published, settle};

/// Steps of one run.
const STEPS_MAX: usize = 24;
/// Bytes that a made-up object gets.
const BYTES_MAX: usize = 600;

/// The group's past, made once: the same in every process.
struct World {
    gid: GroupId,
    owner: Kept,
    /// The member that everything comes to: before it all, and when only the
    /// last commit is missing.
    member: [Kept; 2],
    /// A member whose keys whoever makes up objects has.
    insider: DeviceKeys,
    /// Its request to be let in again.
    request: PackedReadd,
    /// Has a Welcome that it has not used.
    joiner: Kept,
    welcome: Vec<u8>,
    bundle: Vec<u8>,
    /// All that was published since the member joined.
    objects: Vec<Vec<u8>>,
    states: Vec<StateId>,
    commits: Vec<CommitId>,
    devices: Vec<DeviceId>,
    accounts: Vec<AccountId>,
}

/// A device between two runs.
struct Kept {
    keys: DeviceKeys,
    store: MemoryStore,
    now: u64,
}

impl Kept {
    fn of(d: &Device) -> Self {
        Self { keys: d.keys.clone(), store: d.store.fork(), now: d.now }
    }
    fn wake(&self) -> Device {
        Device::on(self.keys.clone(), self.store.fork(), self.now, 77)
    }
}

fn tell(gid: GroupId, to: &mut [&mut Device], objects: &[Vec<u8>]) {
    for d in to {
        for object in objects {
            d.ingest(gid, object);
        }
    }
}

fn adds(devices: &mut [&mut Device]) -> Change {
    let adds = devices.iter_mut().map(|d| Add { package: d.package(), inbox: TopicId(d.id().0) });
    Change { adds: adds.collect(), ..Change::default() }
}

fn build() -> World {
    let [mut a, mut v, mut c, mut m, mut e, mut j] = [1, 2, 3, 4, 5, 6].map(|n| Device::new(keys(n, 1), n));
    let ext = GroupExt::group(a.account(), "tea", Vec::new());
    let gid = a.run(|engine, tx, now| engine.create(tx, now, &ext)).expect("a group");
    let change = adds(&mut [&mut v, &mut c, &mut m, &mut e]);
    let first = a.run(|engine, tx, now| engine.commit(tx, now, gid, &change)).expect("a commit");
    for d in [&mut v, &mut c, &mut m, &mut e] {
        let welcome = a.welcome(&first, d.id()).expect("a Welcome");
        d.join(&welcome, &first.bundle).expect("a join");
    }
    settle(gid, &mut [&mut a, &mut v, &mut c, &mut m, &mut e]);
    let early = Kept::of(&v);
    let mut states = vec![a.tip(gid), first.parent];
    let mut commits = vec![first.commit];
    let mut objects: Vec<Vec<u8>> = Vec::new();

    // Everybody says something; two commits at once; more is said on both branches.
    let mut bare = Vec::new();
    let mut say = |d: &mut Device, text: &str, objects: &mut Vec<Vec<u8>>| {
        let sent = d.send(gid, text).expect("a member may write");
        bare.push(kith_mls::event_bytes(&d.store, gid, sent.id).expect("it was sent"));
        objects.extend(published(&sent));
    };
    for d in [&mut a, &mut c, &mut m, &mut e] {
        say(d, "one", &mut objects);
    }
    tell(gid, &mut [&mut a, &mut c, &mut m, &mut e], &objects);
    let update = |d: &mut Device, change: &Change| {
        d.run(|engine, tx, now| engine.commit(tx, now, gid, change)).expect("a commit")
    };
    for d in [&mut a, &mut c] {
        let commit = update(d, &Change::default());
        states.push(commit.state);
        commits.push(commit.commit);
        objects.extend(publish(&commit));
        say(d, "two", &mut objects);
    }
    tell(gid, &mut [&mut a, &mut c, &mut m, &mut e], &objects);
    for d in [&mut a, &mut c] {
        for (_, object) in crate::device::resend(gid, d) {
            objects.push(object);
        }
    }
    tell(gid, &mut [&mut a, &mut c, &mut m, &mut e], &objects);
    // The insider's own commit, a leave that is carried out, new settings, an add.
    let own = update(&mut m, &Change::default());
    states.push(own.state);
    commits.push(own.commit);
    objects.extend(publish(&own));
    say(&mut m, "three", &mut objects);
    tell(gid, &mut [&mut a, &mut c, &mut e], &objects);
    objects.extend(e.run(|engine, tx, now| engine.leave(tx, now, gid)).expect("a leave"));
    tell(gid, &mut [&mut a, &mut c, &mut m], &objects);
    let mut new = a.view(gid).ext;
    new.policy.title = "coffee".into();
    let wanted = [
        Change { remove_accounts: vec![e.account()], ..Change::default() },
        Change { ext: Some(new), ..Change::default() },
        adds(&mut [&mut j]),
    ];
    let mut last = None;
    for (n, change) in wanted.iter().enumerate() {
        if n + 1 == wanted.len() {
            tell(gid, &mut [&mut v], &objects);
        }
        let commit = update(&mut a, change);
        states.push(commit.state);
        commits.push(commit.commit);
        objects.extend(publish(&commit));
        say(&mut a, "four", &mut objects);
        tell(gid, &mut [&mut c, &mut m, &mut e], &objects);
        last = Some(commit);
    }
    let last = last.expect("there were three");
    objects.extend([c.mark(gid), m.mark(gid), a.mark(gid)].into_iter().flatten());
    objects.extend(bare);
    let request = m.run(|engine, tx, now| engine.ask_back(tx, now, gid)).expect("a request");
    let devices: Vec<DeviceId> = [&a, &v, &c, &m, &e, &j].iter().map(|d| d.id()).collect();
    let accounts = [&a, &v, &c, &m, &e, &j].iter().map(|d| d.account()).collect();
    World {
        gid,
        welcome: a.welcome(&last, j.id()).expect("a Welcome"),
        bundle: last.bundle,
        owner: Kept::of(&a),
        member: [early, Kept::of(&v)],
        insider: m.keys,
        request: PackedReadd::from_bytes(&request).expect("a request is one"),
        joiner: Kept::of(&j),
        objects,
        states,
        commits,
        devices,
        accounts,
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(build)
}

/// The objects that the world's members have published.
pub(crate) fn world_objects() -> Vec<Vec<u8>> {
    let world = world();
    world.objects.iter().chain([&world.welcome, &world.bundle]).cloned().collect()
}

type Given<'a, 'b> = &'a mut Unstructured<'b>;
type Drawn<T> = arbitrary::Result<T>;

/// Feeds objects made of `bytes` to a member, then holds that the group works.
pub fn ingest(bytes: &[u8]) {
    let world = world();
    let gid = world.gid;
    let mut u = Unstructured::new(bytes);
    let early = u.ratio(1, 4).unwrap_or_default();
    let mut member = world.member[usize::from(!early)].wake();
    for _ in 0..STEPS_MAX {
        if u.is_empty() || step(world, &mut member, &mut u).is_err() {
            break;
        }
    }
    // The truth comes, at the latest by sync, and both talk.
    for object in &world.objects {
        member.ingest(gid, object);
    }
    let mut owner = world.owner.wake();
    owner.now = owner.now.max(member.now);
    member.now = owner.now;
    settle(gid, &mut [&mut owner, &mut member]);
    let mut said = say(gid, &mut owner, &mut member);
    if said.is_none() {
        // Orders of the insider may have to be carried out first.
        let insider = world.insider.account;
        let change = Change { remove_accounts: vec![insider], ..Change::default() };
        let commit = owner.run(|e, tx, now| e.commit(tx, now, gid, &change)).expect("the owner may remove");
        tell(gid, &mut [&mut member], &publish(&commit));
        settle(gid, &mut [&mut owner, &mut member]);
        said = say(gid, &mut owner, &mut member);
    }
    assert!(said.is_some(), "the owner cannot write any more");
    assert!(say(gid, &mut member, &mut owner).is_some(), "the member cannot write any more");
    assert_eq!(owner.tip(gid), member.tip(gid));
    for d in [&owner, &member] {
        assert!(d.shown.values().all(|n| *n == 1), "an event was shown twice");
    }
}

/// One writes, the other reads it; `None` if it may not write now.
fn say(gid: GroupId, from: &mut Device, to: &mut Device) -> Option<()> {
    let sent = from.send(gid, "still here")?;
    for object in published(&sent) {
        to.ingest(gid, &object);
    }
    assert_eq!(to.shown.get(&sent.id), Some(&1), "a message did not arrive");
    Some(())
}

fn step(world: &World, member: &mut Device, u: Given<'_, '_>) -> Drawn<()> {
    let gid = world.gid;
    match u.int_in_range(0..=15)? {
        0 | 1 => {
            let object = u.choose(&world.objects)?.clone();
            member.ingest(gid, &object);
        }
        2..=4 => {
            let object = changed(u.choose(&world.objects)?, u)?;
            member.ingest(gid, &object);
        }
        5 => {
            let (one, other) = (u.choose(&world.objects)?, u.choose(&world.objects)?);
            let (cut, from) = (u.choose_index(one.len() + 1)?, u.choose_index(other.len() + 1)?);
            member.ingest(gid, &[&one[..cut], &other[from..]].concat());
        }
        6 | 7 => {
            // An insider signs what it likes.
            let body = match Object::from_bytes(u.choose(&world.objects)?) {
                Ok(Object::Signed { raw, .. }) => raw.body,
                Ok(Object::EventEnvelope(envelope)) => envelope.to_bytes(),
                Ok(Object::BareEvent(event)) => event.raw.body,
                Ok(Object::Readd(request)) => request.raw.body,
                Err(_) => return Ok(()),
            };
            let body = changed(&body, u)?;
            let label = *u.choose(&[labels::SIG_COMMIT, labels::SIG_MARK, labels::SIG_ORDER])?;
            let sig = crypto::sign(&world.insider.signing, label, &[&body]);
            member.ingest(gid, &Raw { body, sig }.to_bytes());
        }
        8 => {
            let mark = mark(world, u)?;
            member.ingest(gid, &signed::sign(&mark, &world.insider.signing, &[]).to_bytes());
        }
        9 => {
            let order = order(world, u)?;
            member.ingest(gid, &signed::sign(&order, &world.insider.signing, &[]).to_bytes());
        }
        10 => {
            let (event, group, at) = event(world, u)?;
            let signed = SignedEvent::sign(&event, group, at, &world.insider.signing);
            member.ingest(gid, &signed.to_bare());
        }
        11 => {
            let object = wrapped(world, u)?;
            member.ingest(gid, &object);
        }
        12 => {
            let object = some_bytes(u)?;
            // Enough bytes may also stand for a request to be let in again.
            if readd(world, member, &mut Unstructured::new(&object)).is_err() {
                member.ingest(gid, &object);
            }
        }
        13 => hello(world, member, u)?,
        14 => join(world, u)?,
        _ => {
            if u.arbitrary()? {
                member.restart();
            } else {
                member.now += u64::from(u.arbitrary::<u16>()?) * 60_000;
            }
        }
    }
    Ok(())
}

fn some_bytes(u: Given<'_, '_>) -> Drawn<Vec<u8>> {
    let n = u.int_in_range(0..=BYTES_MAX)?.min(u.len());
    Ok(u.bytes(n)?.to_vec())
}

/// The same bytes with a few changes.
fn changed(bytes: &[u8], u: Given<'_, '_>) -> Drawn<Vec<u8>> {
    let mut out = bytes.to_vec();
    for _ in 0..=u.int_in_range(0..=3)? {
        let at = u.choose_index(out.len().max(1))?;
        match u.int_in_range(0..=4)? {
            0 if at < out.len() => out[at] ^= 1 << u.int_in_range(0..=7)?,
            1 if at < out.len() => out[at] = u.arbitrary()?,
            2 => out.truncate(at),
            3 => out.insert(at.min(out.len()), u.arbitrary()?),
            _ if at < out.len() => {
                out.remove(at);
            }
            _ => {}
        }
    }
    Ok(out)
}

fn state(world: &World, u: Given<'_, '_>) -> Drawn<StateId> {
    Ok(if u.ratio(1, 8)? { StateId(u.arbitrary()?) } else { *u.choose(&world.states)? })
}

fn device(world: &World, u: Given<'_, '_>) -> Drawn<DeviceId> {
    let own = world.insider.device();
    Ok(match u.int_in_range(0..=3)? {
        0 => *u.choose(&world.devices)?,
        1 if u.ratio(1, 4)? => DeviceId(u.arbitrary()?),
        _ => own,
    })
}

/// Small, or at an edge.
fn number(u: Given<'_, '_>) -> Drawn<u64> {
    Ok(match u.int_in_range(0..=7)? {
        0 => u64::MAX - u.int_in_range(0..=2)?,
        1 => u.arbitrary()?,
        _ => u.int_in_range(0..=12)?,
    })
}

fn hash(u: Given<'_, '_>) -> Drawn<Option<[u8; 32]>> {
    Ok(if u.arbitrary()? { Some([u.arbitrary()?; 32]) } else { None })
}

fn progress(world: &World, u: Given<'_, '_>) -> Drawn<BTreeMap<DeviceId, (u64, u64)>> {
    let mut out = BTreeMap::new();
    for _ in 0..u.int_in_range(0..=4)? {
        out.insert(device(world, u)?, (number(u)?, number(u)?));
    }
    Ok(out)
}

fn group_of(world: &World, u: Given<'_, '_>) -> Drawn<GroupId> {
    Ok(if u.ratio(1, 16)? { GroupId([u.arbitrary()?; 32]) } else { world.gid })
}

fn mark(world: &World, u: Given<'_, '_>) -> Drawn<Mark> {
    let mut bad = Vec::new();
    for _ in 0..u.int_in_range(0..=2)? {
        bad.push(BadCommit { commit: *u.choose(&world.commits)?, reason: u.arbitrary()? });
    }
    Ok(Mark {
        kind: kinds::MARK,
        version: 1,
        gid: group_of(world, u)?,
        device: device(world, u)?,
        n: number(u)?,
        prev: hash(u)?,
        at: state(world, u)?,
        changed: progress(world, u)?,
        bad,
    })
}

fn order(world: &World, u: Given<'_, '_>) -> Drawn<Order> {
    let own = world.insider.account;
    Ok(Order {
        kind: kinds::ORDER,
        version: 1,
        gid: group_of(world, u)?,
        issuer: if u.ratio(1, 4)? { *u.choose(&world.accounts)? } else { own },
        device: device(world, u)?,
        n: number(u)?,
        prev: hash(u)?,
        order: *u.choose(&[OrderKind::Remove, OrderKind::Demote, OrderKind::Leave, OrderKind::Add])?,
        target: match u.int_in_range(0..=2)? {
            0 => Target::Account(own),
            1 => Target::Account(*u.choose(&world.accounts)?),
            _ => Target::Device(device(world, u)?),
        },
        at: state(world, u)?,
        lifts: Vec::new(),
        cut: progress(world, u)?,
        hlc: number(u)?,
        statement: if u.ratio(1, 8)? { Some(some_bytes(u)?) } else { None },
    })
}

fn event(world: &World, u: Given<'_, '_>) -> Drawn<(Event, GroupId, StateId)> {
    let event = Event {
        kind: kinds::EVENT,
        version: 1,
        device: device(world, u)?,
        seq: number(u)?,
        prev: hash(u)?.map(EventId),
        deps: progress(world, u)?.into_iter().map(|(d, (seq, _))| (d, seq)).collect(),
        hlc: number(u)?,
        event_type: u.int_in_range(0..=5)?,
        content: u.arbitrary::<[u8; 4]>()?.to_vec(),
    };
    Ok((event, group_of(world, u)?, state(world, u)?))
}

/// A real MLS message, changed or not, in another envelope.
fn wrapped(world: &World, u: Given<'_, '_>) -> Drawn<Vec<u8>> {
    let message = match Object::from_bytes(u.choose(&world.objects)?) {
        Ok(Object::EventEnvelope(envelope)) => envelope.message,
        Ok(Object::Signed { kind: kinds::COMMIT, raw }) => {
            raw.body::<CommitEnvelope>().map(|e| e.message).unwrap_or_default()
        }
        _ => world.welcome.clone(),
    };
    let message = if u.arbitrary()? { changed(&message, u)? } else { message };
    let at = state(world, u)?;
    if u.arbitrary()? {
        return Ok(EventEnvelope::new(at, message).to_bytes());
    }
    let gid = group_of(world, u)?;
    let envelope = CommitEnvelope { kind: kinds::COMMIT, version: 1, gid, parent: at, message };
    Ok(signed::sign(&envelope, &world.insider.signing, &[]).to_bytes())
}

/// The insider asks to be let in again, truly or not; the member may do so.
fn readd(world: &World, member: &mut Device, u: Given<'_, '_>) -> Drawn<()> {
    let gid = world.gid;
    let PackedReadd { mut raw, mut package } = world.request.clone();
    match u.int_in_range(0..=3)? {
        0 => raw.body = changed(&raw.body, u)?,
        1 => {
            package = changed(&package, u)?;
            let hash = if u.arbitrary()? { Sha256::digest(&package).into() } else { [u.arbitrary()?; 32] };
            let credential = if u.ratio(1, 4)? { some_bytes(u)? } else { world.insider.credential.clone() };
            let held = vec![state(world, u)?];
            let (gid, device) = (group_of(world, u)?, device(world, u)?);
            let body =
                ReaddReq { kind: kinds::READD, version: 1, gid, device, credential, package: hash, held };
            raw = signed::sign(&body, &world.insider.signing, &[]);
        }
        2 => {
            raw.body = changed(&raw.body, u)?;
            raw.sig = crypto::sign(&world.insider.signing, labels::SIG_READD, &[&raw.body]);
        }
        _ => {}
    }
    let object = PackedReadd { raw, package }.to_bytes();
    if u.arbitrary()? {
        member.serve(gid, &object);
    } else {
        member.ingest(gid, &object);
    }
    Ok(())
}

/// A hello of the insider or of a stranger is answered.
fn hello(world: &World, member: &mut Device, u: Given<'_, '_>) -> Drawn<()> {
    let mut heads = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        heads.push(state(world, u)?);
    }
    let seen = progress(world, u)?;
    let hello = Hello {
        kind: kinds::SYNC_HELLO,
        version: 1,
        gid: group_of(world, u)?,
        anchor: state(world, u)?,
        tip: state(world, u)?,
        heads,
        vv: seen.iter().map(|(d, (seq, _))| (*d, *seq)).collect(),
        orders: [0; 32],
        marks: seen
            .iter()
            .map(|(d, (seq, n))| (*d, ChainEnd { n: *n, tag: [seq.to_be_bytes()[7]; 16] }))
            .collect(),
    };
    let mut bytes = hello.to_bytes();
    if u.ratio(1, 4)? {
        bytes = changed(&bytes, u)?;
    }
    let peer = device(world, u)?;
    let max = usize::from(u.arbitrary::<u16>()?);
    let gid = world.gid;
    fair(member.run(|e, tx, _| e.sync_answer(tx, gid, peer, &bytes, max)));
    Ok(())
}

/// A changed Welcome or bundle leads to a refusal or, where nothing that
/// counts was changed, to the group.
fn join(world: &World, u: Given<'_, '_>) -> Drawn<()> {
    let mut joiner = world.joiner.wake();
    let mut welcome = world.welcome.clone();
    let mut bundle = world.bundle.clone();
    match u.int_in_range(0..=2)? {
        0 => welcome = changed(&welcome, u)?,
        1 => bundle = changed(&bundle, u)?,
        _ => {
            // Rightly signed, by the insider.
            let Ok(raw) = Raw::from_bytes(&welcome) else { return Ok(()) };
            let body = changed(&raw.body, u)?;
            let sig = crypto::sign(&world.insider.signing, labels::SIG_WELCOME, &[&body]);
            welcome = Raw { body, sig }.to_bytes();
        }
    }
    let gid = world.gid;
    fair(joiner.run_and_drop(|e, tx, now| e.join(tx, now, &welcome, &bundle)));
    if fair(joiner.join(&welcome, &bundle)).is_some() {
        let mut owner = world.owner.wake();
        settle(gid, &mut [&mut owner, &mut joiner]);
        assert_eq!(owner.tip(gid), joiner.tip(gid));
    }
    Ok(())
}
