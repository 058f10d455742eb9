//! The commands that talk to a running node.

mod files;

use std::io::Read as _;

use anyhow::{Context, Result, anyhow, bail};
use kith_core::api::Event;
use kith_core::view::{
    Contact, Conversation, ConversationDetails, ConversationKind, Invite, MessagePage, Network, Relay, Safety,
};
use kith_web::RelayTest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::{ContactAction, GroupAction, InviteAction, PassphraseArgs, RelayAction};
use crate::client::{Client, Refused};
use crate::config::Config;
use crate::data::DataDir;
use crate::{passphrase, show, system};
pub(crate) use files::{files, send as send_files};

/// Bytes of standard input that `kith send` reads at most.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// How to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    /// Prints a value as JSON, or the text for people.
    pub(crate) fn value(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            println!("{}", serde_json::to_string(value).unwrap_or_default());
        } else {
            let text = text();
            if !text.is_empty() {
                println!("{}", text.trim_end_matches('\n'));
            }
        }
    }
    /// Prints that it worked.
    pub(crate) fn done(self, text: &str) {
        self.value(&json!({"ok": true}), || text.to_owned());
    }
    /// Prints why it did not.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let message = format!("{error:#}");
        if self.json {
            let code = error.downcast_ref::<Refused>().map_or("failed", |refused| refused.0.code.as_str());
            eprintln!("{}", json!({"code": code, "message": message}));
        } else {
            eprintln!("kith: {message}");
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    version: String,
    state: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    network: Option<Network>,
}

pub(crate) fn status(data: &DataDir, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let mut status: Status = client.get("/health")?;
    if status.state == "unlocked" {
        let session: Value = client.get("/session")?;
        status.name = session.get("name").and_then(Value::as_str).map(str::to_owned);
        status.network = Some(client.get("/network")?);
    }
    out.value(&status, || {
        let mut text = match (status.state.as_str(), &status.name) {
            ("fresh", _) => "There is no account here yet. Run `kith link` and open the page.".to_owned(),
            ("locked", _) => {
                "Locked: messages wait until it is unlocked (`kith unlock`, or the page).".to_owned()
            }
            (_, name) => format!("Running as {}.", show::line(name.as_deref().unwrap_or("?"))),
        };
        if let Some(network) = &status.network {
            for relay in &network.relays {
                text.push_str(&format!("\n{}", relay_line(relay)));
            }
            if network.relays.is_empty() {
                text.push_str("\nNo relay: direct connections only.");
            }
            for peer in &network.peers {
                text.push_str(&format!(
                    "\nConnected to {} ({})",
                    show::line(&peer.name),
                    show::line(&peer.path)
                ));
            }
            if network.waiting > 0 {
                text.push_str(&format!("\n{} objects wait here for a path.", network.waiting));
            }
        }
        text
    });
    Ok(())
}

pub(crate) fn link(data: &DataDir, out: Out) -> Result<()> {
    #[derive(Serialize, Deserialize)]
    struct Link {
        url: String,
    }
    let link: Link = Client::of(data)?.post("/link", &json!({}))?;
    out.value(&link, || link.url.clone());
    Ok(())
}

pub(crate) fn unlock(data: &DataDir, args: &PassphraseArgs, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let passphrase = match args.passphrase_fd {
        Some(fd) => passphrase::from_fd(fd)?,
        None => passphrase::ask("Passphrase")?,
    };
    client.tell("/vault/unlock", &json!({"passphrase": passphrase.as_str()}))?;
    out.done("Unlocked.");
    Ok(())
}

pub(crate) fn lock(data: &DataDir, out: Out) -> Result<()> {
    Client::of(data)?.tell("/vault/lock", &json!({}))?;
    out.done("Locked.");
    Ok(())
}

pub(crate) fn invite(data: &DataDir, action: Option<InviteAction>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let action = action.unwrap_or(InviteAction::New { group: None, uses: 1, hours: 168, qr: false });
    match action {
        InviteAction::New { group, uses, hours, qr } => {
            let conversation = group.map(|g| conversation(&client, &g)).transpose()?.map(|c| c.id);
            let mut body = json!({"uses": uses, "valid_s": hours.saturating_mul(3600)});
            if let (Some(id), Some(body)) = (conversation, body.as_object_mut()) {
                body.insert("conversation".into(), id.into());
            }
            let invite: Invite = client.post("/invites", &body)?;
            out.value(&invite, || {
                if qr { format!("{}\n{}", draw(&invite.link), invite.link) } else { invite.link.clone() }
            });
        }
        InviteAction::List => {
            let invites: Vec<Invite> = client.get("/invites")?;
            out.value(&invites, || {
                let line = |i: &Invite| {
                    let to = i.conversation.as_ref().map_or("contact", |_| "group");
                    format!(
                        "{}  {to}  {}/{} uses left  {}\n",
                        i.id,
                        i.uses_left,
                        i.uses,
                        show::until(i.expires_at)
                    )
                };
                if invites.is_empty() { "No invites.".into() } else { invites.iter().map(line).collect() }
            });
        }
        InviteAction::Revoke { id } => {
            client.delete(&format!("/invites/{}", segment(&id)?))?;
            out.done("Withdrawn.");
        }
    }
    Ok(())
}

pub(crate) fn contacts(data: &DataDir, action: Option<ContactAction>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let act = |who: &str, what: &str, done: &str| -> Result<()> {
        let account = person(&client, who)?.account;
        client.tell(&format!("/contacts/{account}/{what}"), &json!({}))?;
        out.done(done);
        Ok(())
    };
    match action.unwrap_or(ContactAction::List) {
        ContactAction::List => {
            let contacts: Vec<Contact> = client.get("/contacts")?;
            out.value(&contacts, || {
                let line = |c: &Contact| {
                    let state = serde_json::to_value(c.state).unwrap_or_default();
                    let verified = if c.verified { "  verified" } else { "" };
                    format!("{}  {}  {}{verified}\n", c.account, state.as_str().unwrap_or(""), shown_name(c))
                };
                if contacts.is_empty() {
                    "No contacts. Make an invite with `kith invite`.".into()
                } else {
                    contacts.iter().map(line).collect()
                }
            });
            Ok(())
        }
        ContactAction::Add { link, greeting } => {
            let asked: Value = client.post("/contacts", &json!({"link": link, "greeting": greeting}))?;
            out.value(&asked, || "Asked. The other side has to accept.".into());
            Ok(())
        }
        ContactAction::Accept { who } => act(&who, "accept", "Accepted."),
        ContactAction::Refuse { who } => act(&who, "refuse", "Refused."),
        ContactAction::Block { who } => act(&who, "block", "Blocked."),
        ContactAction::Unblock { who } => act(&who, "unblock", "No longer blocked."),
        ContactAction::Safety { who } => {
            let account = person(&client, &who)?.account;
            let safety: Safety = client.get(&format!("/contacts/{account}/safety"))?;
            out.value(&safety, || safety.digits.chunks(4).map(|row| row.join(" ") + "\n").collect());
            Ok(())
        }
    }
}

pub(crate) fn groups(data: &DataDir, action: Option<GroupAction>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let members = |names: &[String]| -> Result<Vec<String>> {
        names.iter().map(|n| person(&client, n).map(|c| c.account)).collect()
    };
    match action.unwrap_or(GroupAction::List) {
        GroupAction::List => {
            let all: Vec<Conversation> = client.get("/conversations")?;
            let groups: Vec<_> = all.into_iter().filter(|c| c.kind == ConversationKind::Group).collect();
            out.value(&groups, || {
                let line = |c: &Conversation| {
                    format!(
                        "{}  {} members  {} unread  {}\n",
                        c.id,
                        c.member_count,
                        c.unread,
                        show::line(&c.title)
                    )
                };
                if groups.is_empty() { "No groups.".into() } else { groups.iter().map(line).collect() }
            });
        }
        GroupAction::New { title, members: names } => {
            let body = json!({"title": title, "members": members(&names)?});
            let made: Value = client.post("/conversations", &body)?;
            out.value(&made, || "Made.".into());
        }
        GroupAction::Show { group } => {
            let id = conversation(&client, &group)?.id;
            let details: ConversationDetails = client.get(&format!("/conversations/{id}"))?;
            out.value(&details, || {
                let line = |m: &kith_core::view::Member| {
                    let role = serde_json::to_value(m.role).unwrap_or_default();
                    let seen = if m.seen { "" } else { "  not seen yet" };
                    format!("{}  {}  {}{seen}\n", m.account, role.as_str().unwrap_or(""), show::line(&m.name))
                };
                details.members.iter().map(line).collect()
            });
        }
        GroupAction::Add { group, members: names } => {
            let id = conversation(&client, &group)?.id;
            client.tell(&format!("/conversations/{id}/members"), &json!({"members": members(&names)?}))?;
            out.done("Added.");
        }
        GroupAction::Remove { group, who } => {
            let id = conversation(&client, &group)?.id;
            let account = person(&client, &who)?.account;
            client.delete(&format!("/conversations/{id}/members/{account}"))?;
            out.done("Removed.");
        }
        GroupAction::Rename { group, title } => {
            let id = conversation(&client, &group)?.id;
            client.put(&format!("/conversations/{id}"), &json!({"title": title}))?;
            out.done("Renamed.");
        }
        GroupAction::Leave { group } => {
            let id = conversation(&client, &group)?.id;
            client.tell(&format!("/conversations/{id}/leave"), &json!({}))?;
            out.done("Left. Its history stays here.");
        }
    }
    Ok(())
}

pub(crate) fn send(data: &DataDir, to: &str, text: Option<String>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let text = match text {
        Some(text) => text,
        None => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(TEXT_BYTES_MAX + 1)
                .read_to_string(&mut text)
                .context("reading the text")?;
            text.trim_end_matches('\n').to_owned()
        }
    };
    let id = conversation(&client, to)?.id;
    let key = hex(&system::random::<16>().map_err(|e| anyhow!(e.message))?);
    let sent: Value =
        client.post(&format!("/conversations/{id}/messages"), &json!({"text": text, "key": key}))?;
    out.value(&sent, || "Accepted: it is stored here and on its way.".into());
    Ok(())
}

pub(crate) fn read(data: &DataDir, from: &str, limit: u32, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    let id = conversation(&client, from)?.id;
    let page: MessagePage = client.get(&format!("/conversations/{id}/messages?limit={limit}"))?;
    out.value(&page, || page.messages.iter().map(|m| show::message(m) + "\n").collect());
    Ok(())
}

pub(crate) fn tail(data: &DataDir, from: Option<&str>, out: Out) -> Result<()> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(default)]
        event: Option<Event>,
    }
    let client = Client::of(data)?;
    let only = from.map(|f| conversation(&client, f)).transpose()?.map(|c| c.id);
    let mut shown = 0;
    client.follow(|text| {
        let frame: Frame = serde_json::from_str(text).context("reading the event stream")?;
        let Some(Event::Message { conversation, message: row }) = &frame.event else { return Ok(()) };
        if only.as_ref().is_some_and(|id| id != conversation) {
            return Ok(());
        }
        if out.json {
            println!("{text}");
        } else if row.position > shown || only.is_none() {
            // Later events of the same row only change its delivery state.
            shown = row.position;
            println!("{}", show::message(row));
        }
        Ok(())
    })
}

pub(crate) fn relays(data: &DataDir, action: Option<RelayAction>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    match action.unwrap_or(RelayAction::List) {
        RelayAction::List => {
            let network: Network = client.get("/network")?;
            out.value(&network.relays, || {
                let all = network.relays.iter().map(|r| format!("{}  {}\n", r.id, relay_line(r)));
                if network.relays.is_empty() {
                    "No relays: direct connections only.".into()
                } else {
                    all.collect()
                }
            });
        }
        RelayAction::Add { link } => {
            let relay: Relay = client.post("/relays", &json!({"link": link}))?;
            out.value(&relay, || format!("In use: {}", show::line(&relay.name)));
        }
        RelayAction::Test { link } => {
            let test: RelayTest = client.post("/relays/test", &json!({"link": link}))?;
            out.value(&test, || match &test.problem {
                None => format!("{} answers.", show::line(&test.name)),
                Some(problem) => show::line(problem),
            });
        }
        RelayAction::Remove { relay } => {
            let network: Network = client.get("/network")?;
            let named = |r: &&Relay| r.id == relay || r.name == relay;
            let found = network
                .relays
                .iter()
                .find(named)
                .ok_or_else(|| anyhow!("no relay here is called `{relay}`"))?;
            client.delete(&format!("/relays/{}", found.id))?;
            out.done("No longer in use.");
        }
    }
    Ok(())
}

pub(crate) fn show_config(config: &Config, out: Out) {
    let shown = config.show();
    out.value(&shown, || {
        shown.iter().map(|s| format!("{:<11} {}   ({})\n", s.key, s.value, s.origin)).collect()
    });
}

fn relay_line(relay: &Relay) -> String {
    let name = show::line(&relay.name);
    match (&relay.problem, relay.up) {
        (_, true) => format!("Relay {name}: connected"),
        (Some(problem), false) => format!("Relay {name}: {}", show::line(problem)),
        (None, false) => format!("Relay {name}: not connected"),
    }
}

fn shown_name(contact: &Contact) -> String {
    show::line(contact.nickname.as_deref().unwrap_or(&contact.name))
}

/// An id as part of a path.
fn segment(id: &str) -> Result<&str> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(id);
    }
    bail!("`{id}` is no id")
}

/// The one that is meant: by exact id, else by name, else by the id's start.
fn one<T>(
    all: Vec<T>,
    wanted: &str,
    kind: &str,
    id: impl Fn(&T) -> &str,
    name: impl Fn(&T) -> String,
) -> Result<T> {
    let folded = wanted.to_lowercase();
    let rules: [&dyn Fn(&T) -> bool; 3] =
        [&|x| id(x) == wanted, &|x| name(x).to_lowercase() == folded, &|x| {
            wanted.len() >= 6 && id(x).starts_with(wanted)
        }];
    let matches = |x: &T| rules.iter().position(|rule| rule(x));
    let best = all.iter().filter_map(&matches).min();
    let mut found = all.into_iter().filter(|x| best.is_some() && matches(x) == best);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!("no {kind} here is called `{wanted}`"),
        (Some(_), Some(_)) => bail!("more than one {kind} here is called `{wanted}`: use the id"),
    }
}

fn conversation(client: &Client, wanted: &str) -> Result<Conversation> {
    let all: Vec<Conversation> = client.get("/conversations")?;
    one(all, wanted, "conversation", |c| &c.id, |c| c.title.clone())
}

fn person(client: &Client, wanted: &str) -> Result<Contact> {
    let all: Vec<Contact> = client.get("/contacts")?;
    one(all, wanted, "person", |c| &c.account, |c| c.nickname.clone().unwrap_or_else(|| c.name.clone()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A QR code for a terminal.
pub(crate) fn draw(text: &str) -> String {
    use qrcode::render::unicode::Dense1x2;
    qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L)
        .map(|code| code.render::<Dense1x2>().quiet_zone(true).build())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(wanted: &str) -> Result<(&'static str, &'static str)> {
        let all = vec![("aabbccdd", "Bob"), ("aabbccee", "Carol"), ("ffffffff", "carol"), ("bob", "Dora")];
        one(all, wanted, "person", |x| x.0, |x| x.1.to_owned())
    }

    #[test]
    fn a_name_or_id_means_one_thing_or_is_an_error() {
        assert_eq!(pick("BOB").unwrap().0, "aabbccdd");
        assert_eq!(pick("bob").unwrap().1, "Dora", "an exact id beats a name");
        assert_eq!(pick("ffffff").unwrap().1, "carol");
        assert!(pick("Carol").unwrap_err().to_string().contains("more than one"));
        assert!(pick("aabbcc").unwrap_err().to_string().contains("more than one"));
        assert!(pick("nobody").unwrap_err().to_string().contains("no person"));
    }
}
