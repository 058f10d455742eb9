//! Starting nodes and talking to them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

pub(crate) const PASSPHRASE: &str = "correct horse battery";
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `kith` to its end, with this on standard input.
pub(crate) fn kith(data: &Path, args: &[&str], input: &str) -> Output {
    let mut child = command(data, args).spawn().unwrap();
    // A command that fails at once does not read it.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// As [`kith`]; it must succeed. Answers its JSON.
pub(crate) fn ok(data: &Path, args: &[&str], input: &str) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    let output = kith(data, &all, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// As [`kith`]; it must fail. Answers its sentence.
pub(crate) fn fails(data: &Path, args: &[&str], input: &str) -> String {
    let output = kith(data, args, input);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{args:?} should have failed");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KITH_")) {
        command.env_remove(name);
    }
    command.args(args).arg("--data").arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Creates an account; answers its words.
pub(crate) fn init(data: &Path, name: &str) -> Vec<String> {
    let made = ok(data, &["init", "--name", name, "--passphrase-fd", "0"], PASSPHRASE);
    made["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
}

/// A running node; killed at the end of its scope.
pub(crate) struct Node {
    pub(crate) data: PathBuf,
    pub(crate) link: String,
    child: Child,
    token: String,
    agent: ureq::Agent,
    _dir: Option<TempDir>,
}

impl Node {
    /// Starts a node on a folder; with a passphrase it starts unlocked.
    pub(crate) fn start(data: &Path, passphrase: Option<&str>, extra: &[&str]) -> Self {
        Self::start_into(data, passphrase, extra, Stdio::inherit())
    }

    /// As [`Node::start`]; its log goes there.
    pub(crate) fn start_into(data: &Path, passphrase: Option<&str>, extra: &[&str], log: Stdio) -> Self {
        let mut args = vec!["run", "--p2p-listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--log", "warn"];
        args.extend(extra);
        if passphrase.is_some() {
            args.extend(["--passphrase-fd", "0"]);
        }
        let mut child = command(data, &args).stderr(log).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(passphrase.unwrap_or_default().as_bytes()).unwrap();
        drop(stdin);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let link = line.trim().strip_prefix("link: ").unwrap_or_else(|| panic!("no link: {line}")).to_owned();
        let token = std::fs::read_to_string(data.join("api-token")).unwrap().trim().to_owned();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build()
            .new_agent();
        Self { data: data.to_owned(), link, child, token, agent, _dir: None }
    }

    /// A node with an account, in a folder that goes with it.
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), name);
        let mut node = Self::start(dir.path(), Some(PASSPHRASE), &[]);
        node._dir = Some(dir);
        node
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
    pub(crate) fn host(&self) -> &str {
        self.link.strip_prefix("http://").unwrap().split('/').next().unwrap()
    }

    /// Asks the API; answers status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/api/v1{path}", self.host());
        let bearer = format!("Bearer {}", self.token);
        let sent = match (method, body) {
            ("GET", _) => self.agent.get(url).header("authorization", bearer).call(),
            ("DELETE", _) => self.agent.delete(url).header("authorization", bearer).call(),
            ("PUT", body) => {
                self.agent.put(url).header("authorization", bearer).send_json(body.unwrap_or(json!({})))
            }
            (_, body) => {
                self.agent.post(url).header("authorization", bearer).send_json(body.unwrap_or(json!({})))
            }
        };
        let mut answer = sent.unwrap();
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
    /// Adds a file; answers status and body.
    pub(crate) fn upload(&self, query: &str, bytes: &[u8]) -> (u16, Value) {
        let url = format!("http://{}/api/v1/files?{query}", self.host());
        let bearer = format!("Bearer {}", self.token);
        let mut answer = self.agent.post(url).header("authorization", bearer).send(bytes).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }
    /// The bytes of a file, or the range of them; answers status, headers and
    /// body.
    pub(crate) fn content(&self, id: &str, query: &str, range: Option<&str>) -> Content {
        let url = format!("http://{}/api/v1/files/{id}/content{query}", self.host());
        let mut request = self.agent.get(url).header("authorization", format!("Bearer {}", self.token));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let mut answer = request.call().unwrap();
        let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        Content { status: answer.status().as_u16(), headers, bytes }
    }
    /// As [`Node::call`]; it must succeed.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }
    /// As [`Node::call`]; it must be refused. Answers status and code.
    pub(crate) fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(method, path, Some(body));
        assert!(status >= 400, "{path}: {status} {answer}");
        (status, answer["code"].as_str().unwrap_or_else(|| panic!("{path}: {answer}")).to_owned())
    }
    pub(crate) fn state(&self) -> String {
        self.get("/health")["state"].as_str().unwrap().to_owned()
    }

    /// Opens the event stream.
    pub(crate) fn events(&self) -> Events {
        let mut request = format!("ws://{}/api/v1/events", self.host()).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        let stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Events(tungstenite::client(request, stream).unwrap().0)
    }

    /// Asks for a stop as a service manager does; answers the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
    /// Pulls the plug.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// The answer to a request for a file's bytes.
pub(crate) struct Content {
    pub(crate) status: u16,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

/// An event stream.
pub(crate) struct Events(WebSocket<TcpStream>);

impl Events {
    /// Waits for the first event for which `pick` has something.
    pub(crate) fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        loop {
            let frame = self.0.read().unwrap_or_else(|e| panic!("waiting for {what}: {e}"));
            if let Message::Text(text) = frame {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if let Some(found) = pick(&frame["event"]) {
                    return found;
                }
            }
        }
    }
}

/// One HTTP request without any session, as a browser would begin.
pub(crate) fn plain(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{request}\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
