//! A node process and its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http::{Answer, Client};
use super::namespace::Namespace;
use super::process::Process;
use super::socket::Events;
use super::{PATIENCE, free_port, loopback_addresses};

/// How long a node may take to end by itself.
const END: Duration = Duration::from_secs(15);
/// The passphrase of every node of the laboratory.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// How a node is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// Start with `--no-direct`.
    pub(crate) no_direct: bool,
    /// Listen on TCP only, so that contacts use it.
    pub(crate) tcp_only: bool,
    /// Listen on QUIC at this address instead of loopback.
    pub(crate) at: Option<(String, u16)>,
    /// Listen as a node does that nobody configured, not on loopback.
    pub(crate) everywhere: bool,
    /// More environment, for test builds.
    pub(crate) environment: Vec<(String, String)>,
}

/// A node and how to start it again.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its person.
    pub(crate) name: String,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    http_port: u16,
    /// How the next start is made.
    pub(crate) flags: Flags,
    process: Option<Process>,
    address: SocketAddr,
    token: String,
    client: Option<Client>,
    /// The sign-in link that it printed.
    pub(crate) link: String,
}

impl Node {
    /// Starts a node with a fresh folder below `folder`; it has no account yet.
    pub(crate) fn fresh(program: &Path, folder: &Path, name: &str, flags: Flags) -> Result<Self> {
        let file = name.to_lowercase();
        let mut node = Self {
            name: name.to_owned(),
            program: program.to_path_buf(),
            data: folder.join(&file),
            log: folder.join(format!("{file}.log")),
            port: free_port()?,
            http_port: free_port()?,
            flags,
            process: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: String::new(),
            client: None,
            link: String::new(),
        };
        node.start()?;
        Ok(node)
    }

    /// Starts a node and creates its account.
    pub(crate) fn create(program: &Path, folder: &Path, name: &str, flags: Flags) -> Result<Self> {
        let mut node = Self::fresh(program, folder, name, flags)?;
        node.sign_up(name)?;
        Ok(node)
    }

    /// Creates its account and proves to have written the words down.
    pub(crate) fn sign_up(&mut self, name: &str) -> Result<()> {
        let made = self.post("/vault/create", &json!({"name": name, "passphrase": PASSPHRASE}))?;
        let words: Vec<String> = made["words"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|w| w.as_str().map(str::to_owned))
            .collect();
        let asked = self.get("/vault/challenge")?;
        let answers: Vec<Value> = asked["indexes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .map(|index| {
                let word = usize::try_from(index).ok().and_then(|i| words.get(i));
                json!({"index": index, "word": word})
            })
            .collect();
        self.post("/vault/confirm", &json!({ "answers": answers })).map(|_| ())
    }

    /// Starts the process: locked, or fresh.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.process = None;
        self.client = None;
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--data").arg(&self.data);
        command.args(["--listen", &format!("127.0.0.1:{}", self.http_port)]);
        let addresses = match &self.flags.at {
            Some((ip, port)) => vec![format!("/ip4/{ip}/udp/{port}/quic-v1")],
            None if self.flags.everywhere => Vec::new(),
            None => {
                loopback_addresses(self.port).into_iter().skip(usize::from(self.flags.tcp_only)).collect()
            }
        };
        for address in addresses {
            command.args(["--p2p-listen", &address]);
        }
        if self.flags.no_direct {
            command.arg("--no-direct");
        }
        command.envs(self.flags.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(&self.name, &mut command, &self.log, "")?;
        self.link = process
            .wait_line("link: ", PATIENCE)
            .with_context(|| format!("starting {} (its log: {})", self.name, self.log.display()))?;
        self.address = address_of(&self.link)?;
        self.token = std::fs::read_to_string(self.data.join("api-token"))
            .context("reading the node's API token")?
            .trim()
            .to_owned();
        self.client = Some(self.fresh_client());
        self.process = Some(process);
        Ok(())
    }

    /// Unlocks it.
    pub(crate) fn unlock(&mut self) -> Result<()> {
        self.post("/vault/unlock", &json!({"passphrase": PASSPHRASE})).map(|_| ())
    }

    /// Starts and unlocks it.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.start()?;
        self.unlock()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.client = None;
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.client = None;
        match self.process.take() {
            Some(mut process) => process.terminate(END).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Its log.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The token of its API.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Where its API listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another client of its API, for another thread.
    pub(crate) fn fresh_client(&self) -> Client {
        Client::new(self.address, &self.token)
    }

    /// Its event stream.
    pub(crate) fn events(&self) -> Result<Events> {
        Events::open(self.address, &self.token)
    }

    /// A request, whatever it answers.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let Some(client) = &mut self.client else { bail!("{} does not run", self.name) };
        let sent = client.send(method, path, body);
        if sent.is_err() {
            self.client = Some(Client::new(self.address, &self.token));
        }
        sent
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let name = self.name.clone();
        let Some(client) = &mut self.client else { bail!("{name} does not run") };
        client.ask(method, path, body).with_context(|| format!("asking {name}"))
    }

    /// `GET`.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)
    }

    /// `POST`.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", path, Some(body))
    }

    /// `PUT`.
    pub(crate) fn put(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask("PUT", path, Some(body))
    }

    /// Looks whenever something happens on this node, until `look` finds what
    /// it looks for.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut events = self.events()?;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if events.next(deadline)?.is_none() {
                // The last look is taken after the deadline.
                return look(self)?
                    .with_context(|| format!("{}: not within {} s: {what}", self.name, patience.as_secs()));
            }
        }
    }

    /// Uses a relay.
    pub(crate) fn add_relay(&mut self, link: &str) -> Result<()> {
        self.post("/relays", &json!({ "link": link })).map(|_| ())
    }

    /// Own account id.
    pub(crate) fn account(&mut self) -> Result<String> {
        text(&self.get("/me")?, "account")
    }

    /// A contact, if known.
    pub(crate) fn contact(&mut self, account: &str) -> Result<Option<Value>> {
        let contacts = self.get("/contacts")?;
        Ok(contacts.as_array().into_iter().flatten().find(|c| c["account"] == account).cloned())
    }

    /// The conversation with this id, if known.
    pub(crate) fn conversation(&mut self, id: &str) -> Result<Option<Value>> {
        let list = self.get("/conversations")?;
        Ok(list.as_array().into_iter().flatten().find(|c| c["id"] == id).cloned())
    }

    /// Makes a group and returns its id.
    pub(crate) fn create_group(&mut self, title: &str, members: &[String]) -> Result<String> {
        let made = self.post("/conversations", &json!({"title": title, "members": members}))?;
        text(&made, "conversation")
    }

    /// Sends text; the answer's id.
    pub(crate) fn say(&mut self, conversation: &str, words: &str, key: &str) -> Result<String> {
        let path = format!("/conversations/{conversation}/messages");
        let made = self.post(&path, &json!({"text": words, "key": key}))?;
        text(&made, "id")
    }

    /// Waits until a text is in a conversation.
    pub(crate) fn until_text(&mut self, conversation: &str, words: &str, patience: Duration) -> Result<()> {
        self.until(&format!("the message {words:?}"), patience, |node| {
            let page = node.send("GET", &format!("/conversations/{conversation}/messages?limit=50"), None)?;
            let found = page.body["messages"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| row["content"]["text"] == words));
            Ok(found.then_some(()))
        })
    }
}

/// Makes two nodes contacts by invite link. Returns their direct conversation.
pub(crate) fn acquaint(inviter: &mut Node, guest: &mut Node) -> Result<String> {
    let (link, host_account) = invite(inviter)?;
    let guest_account = ask(guest, &link)?;
    accept(inviter, &guest_account)?;
    let conversation = accepted(guest, &host_account)?;
    accepted(inviter, &guest_account)?;
    Ok(conversation)
}

/// As [`acquaint`], for nodes in namespaces.
pub(crate) fn acquaint_in(
    (here, inviter): (&Namespace, &mut Node),
    (there, guest): (&Namespace, &mut Node),
) -> Result<String> {
    let (link, host_account) = here.within(|| invite(inviter))?;
    let guest_account = there.within(|| ask(guest, &link))?;
    here.within(|| accept(inviter, &guest_account))?;
    let conversation = there.within(|| accepted(guest, &host_account))?;
    here.within(|| accepted(inviter, &guest_account))?;
    Ok(conversation)
}

/// Two nodes that were killed start again, each at its place, and the first
/// says something: when that was accepted, and how long until the other had it.
pub(crate) fn cold_in(
    (here, from): (&Namespace, &mut Node),
    (there, to): (&Namespace, &mut Node),
    conversation: &str,
    words: &str,
) -> Result<(Instant, Duration)> {
    there.within(|| to.resume()).context("starting the one who reads")?;
    here.within(|| from.resume()).context("starting the one who writes")?;
    here.within(|| from.say(conversation, words, words)).context("sending")?;
    let accepted = Instant::now();
    there.within(|| to.until_text(conversation, words, PATIENCE)).context("waiting for it")?;
    Ok((accepted, accepted.elapsed()))
}

fn invite(inviter: &mut Node) -> Result<(String, String)> {
    let invite = inviter.post("/invites", &json!({"uses": 1, "valid_s": 3600}))?;
    Ok((text(&invite, "link")?, inviter.account()?))
}

fn ask(guest: &mut Node, link: &str) -> Result<String> {
    guest.post("/contacts", &json!({"link": link, "greeting": format!("Hello from {}", guest.name)}))?;
    guest.account()
}

fn accept(inviter: &mut Node, guest: &str) -> Result<()> {
    inviter.until("the contact request", PATIENCE, |node| {
        Ok(node.contact(guest)?.filter(|c| c["state"] == "incoming"))
    })?;
    inviter.post(&format!("/contacts/{guest}/accept"), &json!({})).map(|_| ())
}

/// Waits until somebody is a contact; their conversation.
fn accepted(node: &mut Node, account: &str) -> Result<String> {
    node.until("the conversation", PATIENCE, |node| {
        let contact = node.contact(account)?.filter(|c| c["state"] == "accepted");
        Ok(contact.and_then(|c| c["conversation"].as_str().map(str::to_owned)))
    })
}

/// A text field of an answer.
pub(crate) fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no {field:?}: {value}"))
}

fn address_of(link: &str) -> Result<SocketAddr> {
    let rest = link.strip_prefix("http://").with_context(|| format!("not a sign-in link: {link:?}"))?;
    let host = rest.split('/').next().unwrap_or_default();
    host.parse().with_context(|| format!("not a sign-in link: {link:?}"))
}
