//! What people do in a test's world: hand out links, become contacts, make a
//! group, say something. Each panics where the world does not let them.

use kith_core::api::{Command, Reply};
use kith_core::view::{Contact, Content};
use kith_wire::ids::{EventId, GroupId};

use crate::world::{NodeIndex, World};

/// How long a link is good for, seconds.
const VALID_S: u64 = 3_600;
/// How long a request, and what follows an answer, may take on its way, ms.
const WAY_MS: (u64, u64) = (10_000, 20_000);

#[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "said above; for tests alone")]
impl World {
    /// A link to a person, or into a group of theirs.
    pub fn invite(&mut self, from: NodeIndex, group: Option<GroupId>, uses: u32) -> String {
        match self.ask(from, Command::CreateInvite { group, uses, valid_s: VALID_S }) {
            Ok(Reply::Invite(invite)) => invite.link,
            other => panic!("no invite: {other:?}"),
        }
    }

    /// Somebody follows a link.
    pub fn follow(&mut self, who: NodeIndex, link: String) {
        self.ask(who, Command::UseInvite { link, greeting: "hello".into() }).expect("the link is good");
    }

    /// Somebody takes another's request.
    pub fn accept(&mut self, at: NodeIndex, who: NodeIndex) {
        let account = self.account(who).expect("it runs");
        self.ask(at, Command::AcceptContact { account }).expect("there is a request");
    }

    /// What somebody knows of another.
    #[must_use]
    pub fn contact(&self, of: NodeIndex, who: NodeIndex) -> Contact {
        let account = self.account(who).expect("it runs").to_text();
        self.contacts(of).into_iter().find(|c| c.account == account).expect("they know each other")
    }

    /// The one conversation of two contacts.
    #[must_use]
    pub fn direct(&self, of: NodeIndex, with: NodeIndex) -> GroupId {
        let peer = Some(self.account(with).expect("it runs").to_text());
        let all: Vec<_> = self.conversations(of).into_iter().filter(|c| c.peer == peer).collect();
        assert_eq!(all.len(), 1, "one conversation per person");
        GroupId::from_hex(&all[0].id).expect("an id")
    }

    /// Two become contacts; their conversation.
    pub fn befriend(&mut self, a: NodeIndex, b: NodeIndex) -> GroupId {
        let link = self.invite(a, None, 5);
        self.follow(b, link);
        self.run(WAY_MS.0);
        self.accept(a, b);
        self.run(WAY_MS.1);
        self.direct(a, b)
    }

    /// The first of them, a contact of all others by then, makes a group with
    /// them.
    pub fn gather(&mut self, who: &[NodeIndex]) -> GroupId {
        let (host, others) = who.split_first().expect("somebody");
        let members = others.iter().map(|other| {
            self.befriend(*host, *other);
            self.account(*other).expect("it runs")
        });
        let members = members.collect();
        let made = self.ask(*host, Command::CreateGroup { title: "Choir".into(), members });
        let Ok(Reply::Conversation(group)) = made else { panic!("no group: {made:?}") };
        self.run(30_000);
        group
    }

    /// Somebody says something in a conversation.
    pub fn say(&mut self, who: NodeIndex, group: GroupId, text: &str) -> EventId {
        let key = format!("{text}-{}", who.0);
        let said = self.ask(who, Command::SendText { group, text: text.into(), reply_to: None, key });
        let Ok(Reply::Accepted { event, .. }) = said else { panic!("not accepted: {said:?}") };
        event
    }

    /// Lines of a timeline that nobody wrote: code and arguments.
    #[must_use]
    pub fn lines(&self, at: NodeIndex, group: &GroupId) -> Vec<String> {
        let notices = self.messages(at, group).into_iter().filter_map(|m| match m.content {
            Content::Notice { code, args } => Some(format!("{code}: {}", args.join(", "))),
            _ => None,
        });
        notices.collect()
    }
}
