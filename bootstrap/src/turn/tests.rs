//! The server as its clients see it, without sockets.

use std::collections::BTreeSet;

use super::credentials::{Secrets, key};
use super::machine::*;
use super::stun::{Builder, Class, Message, attr, channel_data, channel_frame, method};
use super::*;
use crate::service::Now;
use std::net::SocketAddr;

const REALM: &str = "kith";

#[derive(Default)]
struct Ports {
    open: BTreeSet<RelayId>,
    v6: bool,
}

impl Relays for Ports {
    fn open(&mut self, id: RelayId, _v6: bool, even: bool) -> Option<SocketAddr> {
        self.open.insert(id);
        let port = 50_000 + u16::try_from(id.0).unwrap() * 2 + u16::from(!even);
        Some(format!("198.51.100.1:{port}").parse().unwrap())
    }
    fn serves(&self, v6: bool) -> bool {
        !v6 || self.v6
    }
    fn close(&mut self, id: RelayId) {
        assert!(self.open.remove(&id));
    }
}

struct Lab {
    machine: Machine,
    ports: Ports,
    now: Now,
    tx: u8,
}

struct User {
    client: Client,
    name: String,
    key: [u8; 16],
    nonce: String,
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn secrets() -> Secrets {
    Secrets {
        current: "a new secret of some length".into(),
        previous: Some("an old secret of some length".into()),
    }
}

fn rules() -> Rules {
    Rules {
        realm: REALM.into(),
        secrets: secrets(),
        guard: Guard {
            allow_local: false,
            own: vec!["198.51.100.1".parse().unwrap()],
            ports: (50_000, 60_000),
        },
        allocations: 4,
        allocations_per_user: 2,
        allocations_per_ip: 3,
        bytes_per_s: 1000,
        total_bytes_per_s: 1_000_000,
        user_bytes: 10_000,
        seed: [3; 32],
    }
}

impl Lab {
    fn new(rules: Rules) -> Self {
        let now = Now { wall_ms: 1_000_000_000, mono_ms: 5_000 };
        Self { machine: Machine::new(rules, now), ports: Ports::default(), now, tx: 0 }
    }
    fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        self.machine.expire(self.now, &mut self.ports);
    }
    fn send(&mut self, client: Client, bytes: &[u8]) -> Option<Output> {
        self.machine.client(self.now, client, bytes, &mut self.ports)
    }
    fn build(&mut self, method: u16) -> Builder {
        self.tx += 1;
        Builder::new(Class::Request, method, [self.tx; 12])
    }
    /// The answer to a request: its error code, or the answer itself.
    fn ask(&mut self, client: Client, request: &[u8]) -> Result<Vec<u8>, u16> {
        let Some(Output::Client(to, bytes)) = self.send(client, request) else { panic!("no answer") };
        assert_eq!(to, client);
        let m = Message::parse(&bytes).unwrap();
        match m.get(attr::ERROR) {
            Some(error) => Err(u16::from(error[2]) * 100 + u16::from(error[3])),
            None => Ok(bytes),
        }
    }
    fn signed(
        &mut self,
        user: &User,
        method: u16,
        add: impl FnOnce(Builder) -> Builder,
    ) -> Result<Vec<u8>, u16> {
        let request = add(self.build(method))
            .put(attr::USERNAME, user.name.as_bytes())
            .put(attr::REALM, REALM.as_bytes())
            .put(attr::NONCE, user.nonce.as_bytes())
            .finish(Some(&user.key));
        self.ask(user.client, &request)
    }
    fn user(&mut self, client: Client, end_s: u64, id: &str) -> User {
        let (name, password) = secrets().mint(end_s, id);
        let request = self.build(method::ALLOCATE).finish(None);
        let Some(Output::Client(_, bytes)) = self.send(client, &request) else { panic!("no answer") };
        let m = Message::parse(&bytes).unwrap();
        assert_eq!((m.get(attr::ERROR).unwrap()[2], m.get(attr::ERROR).unwrap()[3]), (4, 1));
        assert_eq!(m.text(attr::REALM), Some(REALM));
        let nonce = m.text(attr::NONCE).unwrap().to_owned();
        User { client, key: key(&password, &name, REALM), name, nonce }
    }
    fn allocate(&mut self, user: &User) -> Result<SocketAddr, u16> {
        let answer = self.signed(user, method::ALLOCATE, |b| b.put(attr::TRANSPORT, &[17, 0, 0, 0]))?;
        Ok(Message::parse(&answer).unwrap().addresses(attr::RELAYED).unwrap()[0])
    }
    fn permit(&mut self, user: &User, peer: &str) -> Result<(), u16> {
        self.signed(user, method::CREATE_PERMISSION, |b| b.address(attr::PEER, at(peer))).map(drop)
    }
    fn bind(&mut self, user: &User, number: u16, peer: &str) -> Result<(), u16> {
        let channel = [number.to_be_bytes(), [0, 0]].concat();
        self.signed(user, method::CHANNEL_BIND, |b| {
            b.put(attr::CHANNEL, &channel).address(attr::PEER, at(peer))
        })
        .map(drop)
    }
}

fn client(addr: &str) -> Client {
    Client { via: 0, addr: at(addr), stream: false }
}

const FAR: u64 = 2_000_000;

#[test]
fn a_binding_request_learns_its_own_address() {
    let mut lab = Lab::new(rules());
    let request = lab.build(method::BINDING).finish(None);
    let answer = lab.ask(client("[::ffff:192.0.2.7]:1234"), &request).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().addresses(attr::MAPPED).unwrap(), [at("192.0.2.7:1234")]);
}

#[test]
fn media_goes_both_ways_by_indication_and_channel() {
    let mut lab = Lab::new(rules());
    let user = lab.user(client("192.0.2.7:1"), FAR, "a");
    let relayed = lab.allocate(&user).unwrap();
    assert_eq!(relayed, at("198.51.100.1:50003"));
    let relay = RelayId(1);
    let peer = "203.0.113.9:4000";
    // Without a permission nothing passes.
    let send = Builder::new(Class::Indication, method::SEND, [9; 12])
        .address(attr::PEER, at(peer))
        .put(attr::DATA, b"hello")
        .bare();
    assert_eq!(lab.send(user.client, &send), None);
    assert_eq!(lab.machine.peer(lab.now, relay, at(peer), b"early"), None);
    lab.permit(&user, peer).unwrap();
    assert_eq!(lab.send(user.client, &send), Some(Output::Peer(relay, at(peer), b"hello".to_vec())));
    let Some(Output::Client(to, bytes)) = lab.machine.peer(lab.now, relay, at(peer), b"back") else {
        panic!()
    };
    let m = Message::parse(&bytes).unwrap();
    assert_eq!((to, m.method, m.class), (user.client, method::DATA, Class::Indication));
    assert_eq!(m.addresses(attr::PEER).unwrap(), [at(peer)]);
    assert_eq!(m.get(attr::DATA), Some(&b"back"[..]));
    lab.bind(&user, 0x4001, peer).unwrap();
    lab.bind(&user, 0x4001, peer).unwrap();
    assert_eq!(lab.bind(&user, 0x4002, peer), Err(400), "a peer has one channel");
    assert_eq!(lab.bind(&user, 0x4001, "203.0.113.9:4001"), Err(400), "a channel has one peer");
    assert_eq!(lab.bind(&user, 0x3FFF, "203.0.113.9:4002"), Err(400));
    let frame = channel_frame(0x4001, b"fast", false);
    assert_eq!(lab.send(user.client, &frame), Some(Output::Peer(relay, at(peer), b"fast".to_vec())));
    let Some(Output::Client(_, bytes)) = lab.machine.peer(lab.now, relay, at(peer), b"fast back") else {
        panic!()
    };
    assert_eq!(channel_data(&bytes), Some((0x4001, &b"fast back"[..])));
    // Permissions end before channels do, and both do.
    lab.pass(299_000);
    assert!(lab.send(user.client, &frame).is_some());
    lab.pass(2_000);
    assert_eq!(lab.send(user.client, &frame), None);
    let c = lab.machine.counters();
    assert_eq!((c.allocated, c.allocations, c.bytes_out, c.bytes_in), (1, 1, 13, 13));
    assert_eq!(c.dropped, 3);
}

#[test]
fn only_credentials_that_hold_allocate() {
    let mut lab = Lab::new(rules());
    let expired = lab.user(client("192.0.2.7:1"), 999_999, "a");
    assert_eq!(lab.allocate(&expired), Err(401));
    let mut forged = lab.user(client("192.0.2.7:1"), FAR, "a");
    forged.key[0] ^= 1;
    assert_eq!(lab.allocate(&forged), Err(401));
    let mut stale = lab.user(client("192.0.2.7:1"), FAR, "a");
    stale.nonce = "0".repeat(40);
    assert_eq!(lab.allocate(&stale), Err(438));
    // A nonce is no good elsewhere.
    let mut moved = lab.user(client("192.0.2.7:1"), FAR, "a");
    moved.client = client("192.0.2.8:1");
    assert_eq!(lab.allocate(&moved), Err(438));
    // The secret before the present one still holds.
    let old = Secrets { current: secrets().previous.unwrap(), previous: None };
    let mut user = lab.user(client("192.0.2.7:1"), FAR, "a");
    let (name, password) = old.mint(FAR, "b");
    user.key = key(&password, &name, REALM);
    user.name = name;
    assert!(lab.allocate(&user).is_ok());
    let mut strange = lab.user(client("192.0.2.9:1"), FAR, "a");
    strange.name = "no end".into();
    assert_eq!(lab.allocate(&strange), Err(401));
    assert_eq!(lab.machine.counters().unauthorised, 3);
    // Another user cannot touch it, and it outlives its credentials.
    let mut thief = lab.user(client("192.0.2.7:2"), FAR, "c");
    thief.client = user.client;
    assert_eq!(lab.permit(&thief, "203.0.113.9:4000"), Err(441));
}

#[test]
fn networks_of_their_own_are_forbidden() {
    let mut lab = Lab::new(rules());
    let user = lab.user(client("192.0.2.7:1"), FAR, "a");
    lab.allocate(&user).unwrap();
    for peer in [
        "127.0.0.1:4000",
        "10.0.0.1:4000",
        "169.254.169.254:4000",
        "[::ffff:10.0.0.1]:4000",
        "[::1]:4000",
        "0.0.0.0:5000",
    ] {
        assert_eq!(lab.permit(&user, peer), Err(403), "{peer}");
        assert_eq!(lab.bind(&user, 0x4001, peer), Err(403), "{peer}");
    }
    // The relay's own services; and low ports anywhere.
    assert_eq!(lab.bind(&user, 0x4001, "198.51.100.1:4001"), Err(403));
    assert_eq!(lab.bind(&user, 0x4001, "203.0.113.1:22"), Err(403));
    assert_eq!(lab.bind(&user, 0x4001, "198.51.100.1:50001"), Ok(()));
    assert_eq!(lab.permit(&user, "[2001:db8::1]:4000"), Err(443));
    assert_eq!(lab.machine.counters().forbidden, 14);
    // By an indication, with a permission for the address, no port opens.
    lab.permit(&user, "198.51.100.1:50001").unwrap();
    let send = Builder::new(Class::Indication, method::SEND, [9; 12])
        .address(attr::PEER, at("198.51.100.1:4001"))
        .put(attr::DATA, b"x")
        .bare();
    assert_eq!(lab.send(user.client, &send), None);
}

#[test]
fn budgets_hold() {
    let mut lab = Lab::new(rules());
    let a = lab.user(client("192.0.2.7:1"), FAR, "a");
    lab.allocate(&a).unwrap();
    lab.permit(&a, "203.0.113.9:4000").unwrap();
    let send = |n: usize| {
        Builder::new(Class::Indication, method::SEND, [9; 12])
            .address(attr::PEER, at("203.0.113.9:4000"))
            .put(attr::DATA, &vec![0; n])
            .bare()
    };
    assert!(lab.send(a.client, &send(1500)).is_some());
    assert!(lab.send(a.client, &send(1500)).is_none(), "two seconds' worth at once");
    lab.pass(1000);
    assert!(lab.send(a.client, &send(1500)).is_some());
    assert!(lab.send(a.client, &send(5000)).is_none(), "no datagram is so large");
    for _ in 0..6 {
        lab.pass(2000);
        let _ = lab.send(a.client, &send(1500));
    }
    // 10,000 bytes under one credential.
    assert_eq!(lab.machine.counters().bytes_out, 9000);
    let b = lab.user(client("192.0.2.7:2"), FAR, "a");
    assert!(lab.allocate(&b).is_ok());
    let c = lab.user(client("192.0.2.7:3"), FAR, "a");
    assert_eq!(lab.allocate(&c), Err(486), "per credential");
    let c = lab.user(client("192.0.2.7:3"), FAR, "c");
    assert!(lab.allocate(&c).is_ok());
    let d = lab.user(client("192.0.2.7:4"), FAR, "d");
    assert_eq!(lab.allocate(&d), Err(486), "per address");
    let d = lab.user(client("192.0.2.8:4"), FAR, "d");
    assert!(lab.allocate(&d).is_ok());
    let e = lab.user(client("192.0.2.9:4"), FAR, "e");
    assert_eq!(lab.allocate(&e), Err(508), "of all");
    // A second one at the same place.
    assert_eq!(lab.allocate(&d), Err(437));
    // What ends makes room, and closes its port.
    assert_eq!(lab.ports.open.len(), 4);
    let gone = lab.signed(&d, method::REFRESH, |b| b.put(attr::LIFETIME, &[0; 4]));
    assert!(gone.is_ok() && lab.ports.open.len() == 3);
    assert!(lab.allocate(&e).is_ok());
    lab.pass(601_000);
    assert!(lab.ports.open.is_empty());
    assert_eq!(lab.machine.counters().allocations, 0);
    assert!(lab.allocate(&d).is_ok());
}

#[test]
fn what_is_not_understood_is_said_so() {
    let mut lab = Lab::new(rules());
    let user = lab.user(client("192.0.2.7:1"), FAR, "a");
    let transport = |b: Builder, n| b.put(attr::TRANSPORT, &[n, 0, 0, 0]);
    assert_eq!(lab.signed(&user, method::ALLOCATE, |b| b), Err(400));
    assert_eq!(lab.signed(&user, method::ALLOCATE, |b| transport(b, 6)), Err(442));
    assert_eq!(lab.signed(&user, method::ALLOCATE, |b| transport(b, 17).put(0x1A, &[])), Err(420));
    assert_eq!(
        lab.signed(&user, method::ALLOCATE, |b| transport(b, 17).put(attr::FAMILY, &[2, 0, 0, 0])),
        Err(440)
    );
    assert_eq!(
        lab.signed(&user, method::ALLOCATE, |b| transport(b, 17).put(attr::EVEN_PORT, &[0x80])),
        Err(508)
    );
    assert_eq!(lab.signed(&user, method::REFRESH, |b| b), Err(437));
    assert_eq!(lab.permit(&user, "203.0.113.9:4000"), Err(437));
    assert_eq!(lab.signed(&user, 0x2A, |b| b), Err(400));
    assert!(lab.signed(&user, method::ALLOCATE, |b| transport(b, 17).put(attr::EVEN_PORT, &[0])).is_ok());
    for noise in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 20], &[0x40, 1, 0, 4, 1, 2, 3, 4], &[0xff; 100]] {
        assert_eq!(lab.send(user.client, noise), None);
    }
}

#[test]
fn who_asks_too_much_is_shed_and_others_are_not() {
    let mut lab = Lab::new(rules());
    let request = lab.build(method::BINDING).finish(None);
    let mut answered = 0;
    for _ in 0..500 {
        answered += u32::from(lab.send(client("192.0.2.7:1"), &request).is_some());
    }
    assert_eq!(answered, 100);
    assert_eq!(lab.machine.counters().shed, 400);
    assert!(lab.send(client("192.0.2.8:1"), &request).is_some());
    // One network of IPv6 is one source.
    for i in 0..100 {
        assert!(lab.send(client(&format!("[2001:db8::{i:x}]:1")), &request).is_some());
    }
    assert!(lab.send(client("[2001:db8::ffff]:1"), &request).is_none());
    lab.pass(3000);
    assert!(lab.send(client("192.0.2.7:1"), &request).is_some());
}
