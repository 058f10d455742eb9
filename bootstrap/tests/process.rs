//! The real program: real sockets, a real disk, `kill -9`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kith_overlay::{ClientConfig, Overlay, OverlayHandle};
use kith_wire::crypto::Secret;
use kith_wire::ids::{EntryId, PeerKey, RelayId};
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent};
use kith_wire::relay::{Answer, Call, ClientFrame, CommunityLink, Receipt, Refusal, ServerFrame, Statement};
use kith_wire::topic::{LinkContext, Mode, Right, TopicKeys};
use tokio::sync::mpsc;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Relay {
    process: Child,
    link: CommunityLink,
}

fn command(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kith-bootstrap"));
    command.arg("--data").arg(data).args(more).stdin(Stdio::null());
    command
}

const LISTEN: [&str; 6] =
    ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0", "--name", "Test relay"];

fn start(data: &Path) -> Relay {
    let mut process = command(data, &LISTEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let text = lines
        .by_ref()
        .map(|line| line.expect("text"))
        .find(|line| line.starts_with("kith-relay:"))
        .expect("the relay prints its link");
    Relay { process, link: CommunityLink::from_text(&text).expect("a community link") }
}

impl Relay {
    fn kill(mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("it ends");
    }
}

fn fails(data: &Path, more: &[&str]) -> String {
    let Output { status, stderr, .. } = command(data, more).output().expect("the program runs");
    assert!(!status.success());
    String::from_utf8(stderr).expect("text")
}

struct Client {
    overlay: OverlayHandle,
    events: mpsc::Receiver<NetEvent>,
    link: LinkId,
    local: PeerKey,
    relay: RelayId,
    nonce: [u8; 32],
    next: u64,
}

impl Client {
    async fn connect(to: &CommunityLink) -> Self {
        let mut config = ClientConfig::new(Secret::new([5; 32]), [6; 32]);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        let (overlay, mut events) = Overlay::spawn(config).expect("the overlay starts");
        overlay
            .send(NetCommand::Dial {
                kind: LinkKind::Log,
                peer: PeerKey(to.key.0),
                addrs: to.addrs.clone(),
                patient: true,
            })
            .await
            .expect("the dial is taken");
        let (link, local) = loop {
            match event(&mut events).await {
                NetEvent::Up { link, kind: LinkKind::Log, peer, local, .. } => {
                    assert_eq!(peer.0, to.key.0);
                    break (link, local);
                }
                NetEvent::DialFailed { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        };
        let mut client = Self { overlay, events, link, local, relay: to.key, nonce: [0; 32], next: 1 };
        let ServerFrame::Hello { nonce, statement, .. } = client.frame().await else { panic!("no greeting") };
        let statement = Statement::verify(&statement, &to.key).expect("a statement");
        assert_eq!((statement.name.as_str(), statement.admission), ("Test relay", true));
        client.nonce = nonce;
        assert_eq!(client.call(Call::hello(&to.admission)).await, Ok(Answer::Hello { version: 1 }));
        client
    }
    async fn frame(&mut self) -> ServerFrame {
        loop {
            match event(&mut self.events).await {
                NetEvent::Frame { link, frame } if link == self.link => {
                    return ServerFrame::from_bytes(&frame).expect("a frame");
                }
                NetEvent::Down { link, reason } if link == self.link => panic!("{reason}"),
                _ => {}
            }
        }
    }
    async fn send(&mut self, call: Call) -> u64 {
        let number = self.next;
        self.next += 1;
        let frame = ClientFrame { number, call }.to_bytes();
        self.overlay.send(NetCommand::Send { link: self.link, frame }).await.expect("sent");
        number
    }
    async fn call(&mut self, call: Call) -> Result<Answer, Refusal> {
        let expected = self.send(call).await;
        loop {
            match self.frame().await {
                ServerFrame::Answer { number, answer } if number == expected => return Ok(answer),
                ServerFrame::Refused { number, refusal } if number == expected => return Err(refusal),
                _ => {}
            }
        }
    }
    async fn open(&mut self, topic: &TopicKeys) {
        for right in [Right::Read, Right::Write] {
            let context = LinkContext { relay: &self.relay, client: &self.local, nonce: &self.nonce };
            let call = Call::open(topic, &context, right);
            self.call(call).await.expect("the topic opens");
        }
    }
}

async fn event(events: &mut mpsc::Receiver<NetEvent>) -> NetEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("the overlay runs")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn what_has_a_receipt_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("relay");
    let topic = TopicKeys::derive(&Secret::new([7; 32]), Mode::Group);
    let entries: Vec<Vec<u8>> = (0u8..200)
        .map(|i| topic.seal(format!("message {i}").as_bytes(), &[i; 24]).expect("sealed"))
        .collect();
    runtime().block_on(async {
        let relay = start(&data);
        let mut client = Client::connect(&relay.link).await;
        client.open(&topic).await;
        // All in flight at once; the relay dies in the middle of the answers.
        let mut numbers = std::collections::BTreeMap::new();
        for (i, entry) in entries.iter().enumerate() {
            numbers.insert(client.send(Call::append(topic.id(), entry.clone(), 3600)).await, i);
        }
        let mut receipts = std::collections::BTreeMap::new();
        while receipts.len() < 50 {
            let ServerFrame::Answer { number, answer: Answer::Receipt { receipt } } = client.frame().await
            else {
                panic!("not a receipt");
            };
            receipts.insert(numbers[&number], receipt);
        }
        let key = relay.link.key;
        relay.kill();
        client.overlay.shutdown().await;

        let relay = start(&data);
        assert_eq!(relay.link.key, key, "the identity stays");
        let mut client = Client::connect(&relay.link).await;
        client.open(&topic).await;
        let mut stored = Vec::new();
        let mut after = 0;
        loop {
            let call = Call::Read { topic: topic.id(), after, max_bytes: 1 << 20 };
            let Ok(Answer::Entries { entries, next, end }) = client.call(call).await else {
                panic!("no entries")
            };
            stored.extend(entries);
            after = next;
            if end {
                break;
            }
        }
        for (i, bytes) in &receipts {
            let id = EntryId::of(&entries[*i]);
            let receipt = Receipt::verify(bytes, &key, &topic.id(), &id).expect("a receipt");
            let entry =
                stored.iter().find(|e| e.index == receipt.index).expect("what has a receipt is there");
            assert_eq!(topic.open(&entry.bytes).expect("opens"), format!("message {i}").as_bytes());
            let again = client.call(Call::append(topic.id(), entries[*i].clone(), 3600)).await;
            assert_eq!(again, Ok(Answer::Receipt { receipt: bytes.clone() }), "idempotent across the crash");
        }
        client.overlay.shutdown().await;
        relay.kill();
    });
}

#[test]
fn ends_cleanly_when_asked_and_prints_its_link_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("relay");
    assert!(fails(&data, &["link"]).contains("start the relay once"));
    let mut relay = start(&data);
    let printed = command(&data, &["link", "--no-qr"]).output().expect("runs").stdout;
    let text = String::from_utf8(printed).expect("text");
    assert_eq!(CommunityLink::from_text(&text).as_ref(), Ok(&relay.link));
    let with_code = command(&data, &["link"]).output().expect("runs").stdout;
    assert!(with_code.len() > text.len() + 500, "a QR code stands above the link");
    for file in ["identity.key", "admission.token", "community-link"] {
        let mode = std::fs::metadata(data.join(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let id = relay.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    assert!(relay.process.wait().expect("it ends").success());
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("relay");
    let relay = start(&data);
    let said = fails(&data, &LISTEN);
    assert!(said.contains("in use"), "{said}");
    let taken = relay.link.addrs.iter().find(|a| a.contains("/tcp/")).expect("a TCP address").clone();
    let said = fails(&folder.path().join("other"), &["--listen", &taken]);
    assert!(said.contains("port") && said.contains("in use"), "{said}");
    relay.kill();

    let said = fails(&data, &["--listen", "nonsense"]);
    assert!(said.contains("nonsense"), "{said}");
    std::fs::write(data.join("config.toml"), "colour = \"red\"\n").expect("written");
    let said = fails(&data, &LISTEN);
    assert!(said.contains("unknown field `colour`"), "{said}");
    std::fs::remove_file(data.join("config.toml")).expect("removed");

    let key = std::fs::read(data.join("identity.key")).expect("a key");
    std::fs::write(data.join("identity.key"), "not a key\n").expect("written");
    let said = fails(&data, &LISTEN);
    assert!(said.contains("identity.key is damaged"), "{said}");
    std::fs::remove_file(data.join("identity.key")).expect("removed");
    let said = fails(&data, &LISTEN);
    assert!(said.contains("put the key back"), "{said}");
    std::fs::write(data.join("identity.key"), &key).expect("written");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(data.join("identity.key"), open).expect("set");
    let said = fails(&data, &LISTEN);
    assert!(said.contains("can be read by others"), "{said}");

    let foreign = folder.path().join("foreign");
    std::fs::create_dir_all(foreign.join("log")).expect("made");
    std::fs::write(foreign.join("log").join("holiday.jpg"), "x").expect("written");
    std::fs::write(foreign.join("identity.key"), &key).expect("written");
    std::fs::set_permissions(foreign.join("identity.key"), std::fs::Permissions::from_mode(0o600))
        .expect("set");
    let said = fails(&foreign, &LISTEN);
    assert!(said.contains("something else"), "{said}");
}

#[test]
fn a_log_names_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("relay");
    let mut process = command(&data, &LISTEN)
        .env("RUST_LOG", "kith_bootstrap=trace,kith_overlay=trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let text =
        lines.by_ref().map(|l| l.expect("text")).find(|l| l.starts_with("kith-relay:")).expect("a link");
    let link = CommunityLink::from_text(&text).expect("a link");
    let topic = TopicKeys::derive(&Secret::new([8; 32]), Mode::Group);
    let local = runtime().block_on(async {
        let mut client = Client::connect(&link).await;
        client.open(&topic).await;
        let entry = topic.seal(b"x", &[1; 24]).expect("sealed");
        client.call(Call::append(topic.id(), entry, 60)).await.expect("appended");
        client.overlay.shutdown().await;
        client.local
    });
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    let mut log = String::new();
    process.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    assert!(process.wait().expect("ends").success());
    assert!(log.contains("the relay is up") && log.contains("the relay has stopped"), "{log}");
    let peer = kith_overlay::peer_id_text(&local).unwrap_or_default();
    for secret in [topic.id().hex(), local.hex(), peer, "127.0.0.1".to_owned()] {
        assert!(secret.is_empty() || !log.contains(&secret), "{log}");
    }
}

/// What a STUN server has to answer to this: success, of the same transaction.
fn is_bound(answer: &[u8], request: &[u8; 20]) -> bool {
    answer.get(..2) == Some(&[1, 1]) && answer.get(4..20) == request.get(4..20)
}

#[test]
fn members_are_handed_turn_credentials_and_the_server_answers_over_udp_and_tcp() {
    runtime().block_on(turn_is_there());
}

async fn turn_is_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let relay = start(dir.path());
    let mut client = Client::connect(&relay.link).await;
    let Ok(Answer::Turn { turn }) = client.call(Call::Turn {}).await else { panic!("no credentials") };
    assert!(turn.is_sound(), "{turn:?}");
    let Ok(Answer::Turn { turn: other }) = client.call(Call::Turn {}).await else { panic!("no credentials") };
    assert_ne!(turn.username, other.username, "nothing ties two calls together");
    let url = turn.urls.iter().find(|u| u.ends_with("transport=tcp")).expect("TCP is offered");
    let at = url.trim_start_matches("turn:").split('?').next().expect("an address");
    let request: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42kith kith ki";
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    udp.send_to(&request, at).expect("sent");
    let mut buffer = [0; 256];
    let (len, _) = udp.recv_from(&mut buffer).expect("an answer");
    assert!(is_bound(&buffer[..len], &request));
    let mut tcp = std::net::TcpStream::connect(at).expect("TCP answers");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    std::io::Write::write_all(&mut tcp, &request).expect("sent");
    let mut head = [0; 20];
    tcp.read_exact(&mut head).expect("an answer");
    assert!(is_bound(&head, &request));
    // Guests are not given what costs most.
    let mut open = relay.link.clone();
    open.admission = Vec::new();
    let mut guest = Client::connect(&open).await;
    let refused = guest.call(Call::Turn {}).await.expect_err("members only");
    assert_eq!(refused.code, kith_wire::relay::Code::Admission);
    relay.kill();
}
