//! Every label that separates one use of a key or hash from another.
//!
//! Two uses that share a key never share a label; nothing else in the product
//! spells one out. Source: docs/protocol.md.

macro_rules! labels {
    ($($(#[$m:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$m])* pub const $name: &str = $text;)*
        /// All labels, for the test that holds them distinct.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

labels! {
    /// Account id from R's public key.
    ID_ACCOUNT = "kith/id/account/v1";
    /// Group id from creator account and nonce.
    ID_GROUP = "kith/id/group/v1";
    /// State id from group context and confirmation tag.
    ID_STATE = "kith/id/state/v1";
    /// Commit id from the PublicMessage bytes.
    ID_COMMIT = "kith/id/commit/v1";
    /// Event id.
    ID_EVENT = "kith/id/event/v1";
    /// Order id.
    ID_ORDER = "kith/id/order/v1";
    /// Mark id.
    ID_MARK = "kith/id/mark/v1";
    /// Rank of an account at an epoch.
    ID_RANK = "kith/id/rank/v1";
    /// Topic id from its descriptor.
    ID_TOPIC = "kith/id/topic/v1";
    /// Contact request, as its answer names it.
    ID_REQUEST = "kith/id/request/v1";
    /// Invite id from its secret.
    INVITE_ID = "kith/invite/id/v1";
    /// Proof that a requester holds an invite's secret.
    INVITE_PROOF = "kith/invite/proof/v1";
    /// Seed of an invite's delivery token key.
    INVITE_TOKEN = "kith/invite/token/v1";
    /// Report of a message, as its row is named.
    ID_REPORT = "kith/id/report/v1";
    /// Call, as its row is named.
    ID_CALL = "kith/id/call/v1";
    /// Proof of work of a contact request without a token.
    ID_WORK = "kith/id/work/v1";
    /// Checksum of a community link.
    ID_COMMUNITY_LINK = "kith/id/community-link/v1";
    /// A relay's key for hashing what it charges quotas to.
    RELAY_CHARGE = "kith/relay/charge/v1";
    /// Address prefix of a link, hashed by its relay.
    ID_RELAY_SOURCE = "kith/id/relay-source/v1";
    /// Sender that a relay charges, hashed.
    ID_RELAY_SENDER = "kith/id/relay-sender/v1";
    /// Random part of a TURN user name.
    ID_TURN_USER = "kith/id/turn-user/v1";
    /// MLS exporter label of a group's topic secret.
    TOPIC = "kith/topic/v1";
    /// Seed of a topic's read key.
    TOPIC_READ = "kith/topic/read/v1";
    /// Seed of a topic's write key.
    TOPIC_WRITE = "kith/topic/write/v1";
    /// Outer seal key of a topic.
    TOPIC_SEAL = "kith/topic/seal/v1";
    /// Nonce of a group entry, from topic secret and object.
    TOPIC_NONCE = "kith/topic/nonce/v1";
    /// Associated data of an entry.
    AD_ENTRY = "kith/ad/entry/v1";
    /// Associated data of a blob chunk.
    AD_BLOB = "kith/ad/blob/v1";
    /// A file as one node names it.
    ID_FILE = "kith/id/file/v1";
    /// Key of a file's lists of one level, from the file's key.
    BLOB_LIST = "kith/blob/list/v1";
    /// Name of a file's folder on disk, from the file's key.
    BLOB_FOLDER = "kith/blob/folder/v1";
    /// Associated data of the passphrase wrap.
    AD_WRAP = "kith/ad/wrap/v1";
    /// Associated data of the phrase wrap.
    AD_WRAP_PHRASE = "kith/ad/wrap-phrase/v1";
    /// HPKE info of an inbox entry.
    HPKE_INBOX = "kith/hpke/inbox/v1";
    /// HKDF-Extract salt of the recovery phrase.
    PHRASE = "kith/phrase/v1";
    /// Recovery key from the phrase.
    PHRASE_RECOVERY = "kith/phrase/recovery/v1";
    /// Vault recovery key from the phrase.
    PHRASE_VAULT = "kith/phrase/vault/v1";
    /// Backup key from the phrase.
    PHRASE_BACKUP = "kith/phrase/backup/v1";
    /// Row sealing key of a vault.
    VAULT_ROW = "kith/vault/row/v1";
    /// Row key hashing key of a vault.
    VAULT_ROWKEY = "kith/vault/rowkey/v1";
    /// Key for secrets outside rows.
    VAULT_SECRETS = "kith/vault/secrets/v1";
    /// Audit chain key.
    VAULT_AUDIT = "kith/vault/audit/v1";
    /// Session key of the web UI.
    VAULT_SESSION = "kith/vault/session/v1";
    /// The group engine's generator, from the seed of the process.
    LOCAL_MLS_RAND = "kith/local/mls-rand/v1";
    /// The group engine's HPKE ephemeral keys, from the seed of the process.
    LOCAL_MLS_HPKE = "kith/local/mls-hpke/v1";
    /// Safety number.
    SAFETY = "kith/safety/v1";
    /// Seed of the throw-away transport key towards one relay in one week.
    TRANSPORT_RELAY = "kith/transport/relay/v1";
    /// When in the week that key changes.
    TRANSPORT_RELAY_TURN = "kith/transport/relay-turn/v1";
    /// Signature by R over an account key generation.
    SIG_ROTATE = "kith/sig/rotate/v1";
    /// Revocation by R.
    SIG_REVOKE_R = "kith/sig/revoke-r/v1";
    /// Device certificate by A_g.
    SIG_DEVICE = "kith/sig/device/v1";
    /// Revocation by A_g.
    SIG_REVOKE_A = "kith/sig/revoke-a/v1";
    /// Profile by A_g.
    SIG_PROFILE = "kith/sig/profile/v1";
    /// Contact card by A_g.
    SIG_CARD = "kith/sig/card/v1";
    /// Handle record by A_g.
    SIG_HANDLE = "kith/sig/handle/v1";
    /// Invite by A_g.
    SIG_INVITE = "kith/sig/invite/v1";
    /// Commit envelope by the committing device.
    SIG_COMMIT = "kith/sig/commit/v1";
    /// Event by its device.
    SIG_EVENT = "kith/sig/event/v1";
    /// Mark by its device.
    SIG_MARK = "kith/sig/mark/v1";
    /// Order by its device.
    SIG_ORDER = "kith/sig/order/v1";
    /// Re-add request by its device.
    SIG_READD = "kith/sig/readd/v1";
    /// Device card by its device.
    SIG_DEVICE_CARD = "kith/sig/device-card/v1";
    /// Report of a message by a member's device.
    SIG_REPORT = "kith/sig/report/v1";
    /// Welcome envelope by the inviting device.
    SIG_WELCOME = "kith/sig/welcome/v1";
    /// Key package record by its device.
    SIG_PACKAGE = "kith/sig/package/v1";
    /// Contact request or answer by the sending device.
    SIG_CONTACT = "kith/sig/contact/v1";
    /// Proof of a leaf key on a direct stream.
    SIG_PEER_PROOF = "kith/sig/peer-proof/v1";
    /// Opening a topic at a relay, by its read or write key.
    SIG_RELAY_OPEN = "kith/sig/relay-open/v1";
    /// Delivery token by the inbox's write key.
    SIG_TOKEN = "kith/sig/token/v1";
    /// One use of a delivery token, by the token's key.
    SIG_TOKEN_USE = "kith/sig/token-use/v1";
    /// A relay's statement of its limits.
    SIG_RELAY_STATEMENT = "kith/sig/relay-statement/v1";
    /// A relay's deposit receipt.
    SIG_RELAY_RECEIPT = "kith/sig/relay-receipt/v1";
    /// A relay's eviction notice.
    SIG_RELAY_EVICTED = "kith/sig/relay-evicted/v1";
    /// A relay's contact code record.
    SIG_RELAY_CODE = "kith/sig/relay-code/v1";
    /// A relay's handle record.
    SIG_RELAY_HANDLE = "kith/sig/relay-handle/v1";
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_uses_share_a_label() {
        let set: std::collections::BTreeSet<_> = super::ALL.iter().collect();
        assert_eq!(set.len(), super::ALL.len());
        assert!(super::ALL.iter().all(|l| l.starts_with("kith/") && l.ends_with("/v1")));
    }
}
