//! A real server on a port from the system, before a small backend that keeps
//! what it is told in memory.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kith_core::api::{Command, Refusal, Reply};
use kith_core::view;
use kith_web::assets::Assets;
use kith_web::backend::Later;
use kith_web::{App, Backend, EventHub, FileSink, FileSource, RelayTest, Server, Sessions, VaultState};
use kith_wire::crypto::Secret;
use kith_wire::ids::{AccountId, EventId, FileId, GroupId};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub(crate) const BEARER: &str = "bearer-token-of-the-tests";
pub(crate) const PASSPHRASE: &str = "correct horse";

/// Knows one passphrase and notes the commands that reach it.
pub(crate) struct Notes {
    pub(crate) state: Mutex<VaultState>,
    pub(crate) commands: Mutex<Vec<String>>,
}

fn none() -> Refusal {
    Refusal::new("not_now", "This is not to be had here.")
}

impl Notes {
    fn open(&self) -> Result<Secret, Refusal> {
        *self.state.lock().unwrap() = VaultState::Unlocked;
        Ok(Secret::new([5; 32]))
    }
}

impl Backend for Notes {
    fn state(&self) -> VaultState {
        *self.state.lock().unwrap()
    }
    fn name(&self) -> Option<String> {
        (self.state() == VaultState::Unlocked).then(|| "Alice".to_owned())
    }
    fn create(&self, _: String, passphrase: Zeroizing<String>) -> Later<'_, Vec<String>> {
        Box::pin(async move {
            if passphrase.chars().count() < 8 {
                return Err(Refusal::new("weak_passphrase", "Choose at least 8 characters."));
            }
            Ok(vec!["word".to_owned(); 24])
        })
    }
    fn challenge(&self) -> Result<Vec<u32>, Refusal> {
        Ok(vec![1, 5, 9])
    }
    fn confirm(&self, _: Vec<(u32, Zeroizing<String>)>) -> Later<'_, Secret> {
        Box::pin(async { self.open() })
    }
    fn unlock(&self, passphrase: Zeroizing<String>) -> Later<'_, Secret> {
        Box::pin(async move {
            if passphrase.as_str() != PASSPHRASE {
                return Err(Refusal::new("wrong_passphrase", "This is not the passphrase."));
            }
            self.open()
        })
    }
    fn recover(&self, _: Zeroizing<String>, _: Zeroizing<String>) -> Later<'_, Secret> {
        Box::pin(async { self.open() })
    }
    fn change_passphrase(&self, _: Zeroizing<String>, _: Zeroizing<String>) -> Later<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn lock(&self) -> Later<'_, ()> {
        Box::pin(async {
            *self.state.lock().unwrap() = VaultState::Locked;
            Ok(())
        })
    }
    fn command(&self, command: Command) -> Later<'_, Reply> {
        Box::pin(async move {
            self.commands.lock().unwrap().push(format!("{command:?}"));
            match command {
                Command::SendText { text, .. } if text == "refuse me" => Err(none()),
                Command::SendText { .. } => Ok(Reply::Accepted { event: EventId([7; 32]), position: 3 }),
                Command::CreateGroup { .. } => Ok(Reply::Conversation(GroupId([8; 32]))),
                Command::UseInvite { .. } => Ok(Reply::Contact(AccountId([9; 32]))),
                _ => Ok(Reply::Done),
            }
        })
    }
    fn call_test(&self, _: String) -> Later<'_, String> {
        Box::pin(async { Err(none()) })
    }
    fn test_relay(&self, _: String) -> Later<'_, RelayTest> {
        Box::pin(async { Ok(RelayTest { ok: true, name: "R".into(), retention_s: Some(5), problem: None }) })
    }
    fn add_file(&self, _: String, _: String, _: u64) -> Later<'_, Box<dyn FileSink>> {
        Box::pin(async { Err(none()) })
    }
    fn open_file(&self, _: FileId) -> Later<'_, Option<(view::File, Box<dyn FileSource>)>> {
        Box::pin(async { Ok(None) })
    }
    fn file_progress(&self, _: FileId) -> Option<view::FileProgress> {
        None
    }
    fn files(&self, _: GroupId, _: Option<u64>, _: usize) -> Result<Option<view::FilePage>, Refusal> {
        Ok(None)
    }
    fn file(&self, _: FileId) -> Result<Option<view::File>, Refusal> {
        Ok(None)
    }
    fn storage(&self) -> Result<view::Storage, Refusal> {
        Ok(view::Storage::default())
    }
    fn network(&self) -> Result<view::Network, Refusal> {
        Ok(view::Network {
            relays: Vec::new(),
            peers: Vec::new(),
            addrs: Vec::new(),
            waiting: 0,
            away: Vec::new(),
            findings: Vec::new(),
        })
    }
    fn me(&self) -> Result<view::Me, Refusal> {
        Err(none())
    }
    fn settings(&self) -> Result<view::Settings, Refusal> {
        Ok(view::Settings::default())
    }
    fn contacts(&self) -> Result<Vec<view::Contact>, Refusal> {
        Ok(Vec::new())
    }
    fn invites(&self) -> Result<Vec<view::Invite>, Refusal> {
        Ok(Vec::new())
    }
    fn safety(&self, _: AccountId) -> Result<Option<view::Safety>, Refusal> {
        Ok(None)
    }
    fn conversations(&self) -> Result<Vec<view::Conversation>, Refusal> {
        Ok(Vec::new())
    }
    fn conversation(&self, _: GroupId) -> Result<Option<view::ConversationDetails>, Refusal> {
        Ok(None)
    }
    fn messages(
        &self,
        _: GroupId,
        _: Option<u64>,
        _: Option<u64>,
        _: usize,
    ) -> Result<Option<view::MessagePage>, Refusal> {
        Ok(Some(view::MessagePage { messages: Vec::new(), more_before: false, more_after: false }))
    }
    fn delivery(&self, _: GroupId, _: EventId) -> Result<Option<view::Delivery>, Refusal> {
        Ok(None)
    }
}

struct Files;
impl Assets for Files {
    fn get(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        match path {
            "index.html" => Some(Cow::Borrowed(b"<!doctype html><title>Kith</title>")),
            "assets/app-1a2b.js" => Some(Cow::Borrowed(b"export {}")),
            _ => None,
        }
    }
}

/// A running server; ends with its scope.
pub(crate) struct Lab {
    pub(crate) addr: SocketAddr,
    pub(crate) notes: Arc<Notes>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) hub: Arc<EventHub>,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

impl Lab {
    pub(crate) fn new(state: VaultState) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let notes = Arc::new(Notes { state: Mutex::new(state), commands: Mutex::default() });
        let sessions = Arc::new(Sessions::open(None, BEARER).unwrap());
        let hub = Arc::new(EventHub::new().unwrap());
        let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let addr = server.addr();
        let backend: Arc<dyn Backend> = Arc::<Notes>::clone(&notes);
        let app = App::new(backend, Arc::clone(&sessions), Arc::clone(&hub), Box::new(Files), server.host());
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.serve(Arc::new(app), async {
            let _either = stopped.await;
        }));
        Self { addr, notes, sessions, hub, stop: Some(stop), runtime: Some(runtime) }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Signs a browser in: the cookie as a browser would send it.
    pub(crate) fn sign_in(&self) -> String {
        let token = self.sessions.new_link().unwrap();
        let answer = self.raw(&format!("GET /link/{token} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr));
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// Sends bytes as they are and reads one answer.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut BufReader::new(stream), !request.starts_with("HEAD "))
    }

    /// A well-formed request of a program.
    pub(crate) fn program(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &[("authorization", &format!("Bearer {BEARER}"))], body)
    }

    /// A well-formed request of the app in a browser.
    pub(crate) fn browser(&self, method: &str, path: &str, cookie: &str, body: &str) -> Answer {
        let origin = self.origin();
        self.send(
            method,
            path,
            &[("cookie", cookie), ("origin", &origin), ("sec-fetch-site", "same-origin")],
            body,
        )
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request
                .push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        self.raw(&format!("{request}\r\n{body}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone = self.stop.take().map(|stop| stop.send(()));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: &mut BufReader<TcpStream>, has_body: bool) -> Self {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let mut answer = Self { status, headers, body: String::new() };
        if !has_body {
            return answer;
        }
        let length = answer.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The problem's code; panics unless it is well-formed problem JSON.
    pub(crate) fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.status,
            self.body
        );
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let message = problem["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() > 10, "no sentence: {message}");
        problem["code"].as_str().unwrap().to_owned()
    }
}
