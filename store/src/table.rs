//! The tables (one RocksDB column family each) and how a row is addressed.

/// A table of rows. The number is part of every sealed name and the label
/// part of every row's associated data, so neither ever changes meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Schema version and counters of the store itself. Not sealed.
    Meta = 0,
    /// This account and device: keys, statements, profile.
    Account = 1,
    /// Settings of this node.
    Settings = 2,
    /// People: contacts, requests, blocked.
    Contacts = 3,
    /// Invites made here.
    Invites = 4,
    /// Conversations as the UI lists them.
    Conversations = 5,
    /// Timeline rows, ordered per conversation.
    Timeline = 6,
    /// Per message and device: what became of it.
    Delivery = 7,
    /// Objects that still have to leave this node.
    Outbox = 8,
    /// Relays in use, cursors in their topics.
    Relays = 9,
    /// Device cards of others.
    Cards = 10,
    /// Drafts, read marks and other small per-conversation state.
    State = 11,
    /// Group heads of the engine: tip, anchor, counters.
    Groups = 12,
    /// MLS rows of held states; sealed a second time under a key per name
    /// that can be destroyed (`Tx::shred`).
    Images = 13,
    /// Public states: tree, context, interim hash, confirmation tag.
    Public = 14,
    /// Commits by id and by parent.
    Commits = 15,
    /// Signed events by id and by (device, seq).
    Events = 16,
    /// Marks.
    Marks = 17,
    /// Orders.
    Orders = 18,
    /// Key packages and their private parts; destroyable like images.
    Packages = 19,
    /// Topic secrets; destroyable like images.
    Topics = 20,
    /// Objects that wait for something they depend on.
    Orphans = 21,
    /// Sessions, browsers and API tokens of the web UI.
    Sessions = 22,
    /// Audit log.
    Audit = 23,
    /// Ids already seen, for dropping duplicates.
    Seen = 24,
    /// Keys of shreddable rows, one per name. Belongs to the sealing layer:
    /// nobody else reads or writes it.
    ShredKeys = 25,
    /// Files that messages brought or took along: keys, names, what is wanted.
    Files = 26,
    /// Relay: topics and their quotas.
    LogTopics = 32,
    /// Relay: entries by topic and index.
    LogEntries = 33,
    /// Relay: entry ids by topic, for idempotent appends.
    LogIds = 34,
    /// Relay: key packages waiting for their takers.
    LogPackages = 35,
    /// Relay: chunk records (the bytes lie in files).
    LogChunks = 36,
    /// Relay: token uses.
    LogTokens = 37,
}

impl Table {
    /// All tables, in number order.
    pub const ALL: &'static [Self] = &[
        Self::Meta,
        Self::Account,
        Self::Settings,
        Self::Contacts,
        Self::Invites,
        Self::Conversations,
        Self::Timeline,
        Self::Delivery,
        Self::Outbox,
        Self::Relays,
        Self::Cards,
        Self::State,
        Self::Groups,
        Self::Images,
        Self::Public,
        Self::Commits,
        Self::Events,
        Self::Marks,
        Self::Orders,
        Self::Packages,
        Self::Topics,
        Self::Orphans,
        Self::Sessions,
        Self::Audit,
        Self::Seen,
        Self::ShredKeys,
        Self::Files,
        Self::LogTopics,
        Self::LogEntries,
        Self::LogIds,
        Self::LogPackages,
        Self::LogChunks,
        Self::LogTokens,
    ];
    /// The table's name: its column family, and part of each row's
    /// associated data.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Account => "account",
            Self::Settings => "settings",
            Self::Contacts => "contacts",
            Self::Invites => "invites",
            Self::Conversations => "conversations",
            Self::Timeline => "timeline",
            Self::Delivery => "delivery",
            Self::Outbox => "outbox",
            Self::Relays => "relays",
            Self::Cards => "cards",
            Self::State => "state",
            Self::Groups => "groups",
            Self::Images => "images",
            Self::Public => "public",
            Self::Commits => "commits",
            Self::Events => "events",
            Self::Marks => "marks",
            Self::Orders => "orders",
            Self::Packages => "packages",
            Self::Topics => "topics",
            Self::Orphans => "orphans",
            Self::Sessions => "sessions",
            Self::Audit => "audit",
            Self::Seen => "seen",
            Self::ShredKeys => "shred-keys",
            Self::Files => "files",
            Self::LogTopics => "log-topics",
            Self::LogEntries => "log-entries",
            Self::LogIds => "log-ids",
            Self::LogPackages => "log-packages",
            Self::LogChunks => "log-chunks",
            Self::LogTokens => "log-tokens",
        }
    }
    /// Tables whose rows are sealed under a destroyable key per name.
    #[must_use]
    pub fn shreddable(self) -> bool {
        matches!(self, Self::Images | Self::Packages | Self::Topics)
    }
}

/// Address of one row: `name` is hashed by the sealing layer (so it may be an
/// id or a name), `order` is stored in the clear and sorts (so it must be a
/// local counter or empty, never an id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<'a> {
    /// Table.
    pub table: Table,
    /// Variable part.
    pub name: &'a [u8],
    /// Sorting part, empty for plain rows.
    pub order: &'a [u8],
}

impl<'a> Key<'a> {
    /// A row without order.
    #[must_use]
    pub fn of(table: Table, name: &'a [u8]) -> Self {
        Self { table, name, order: &[] }
    }
    /// A row with a place in an order.
    #[must_use]
    pub fn at(table: Table, name: &'a [u8], order: &'a [u8]) -> Self {
        Self { table, name, order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_distinct() {
        let numbers: std::collections::BTreeSet<u8> = Table::ALL.iter().map(|t| *t as u8).collect();
        let labels: std::collections::BTreeSet<&str> = Table::ALL.iter().map(|t| t.label()).collect();
        assert_eq!((numbers.len(), labels.len()), (Table::ALL.len(), Table::ALL.len()));
        assert_eq!(Table::ALL.len(), 33);
    }
}
