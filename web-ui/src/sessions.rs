//! Who may talk to the node: one-time sign-in links, browser sessions, and the
//! token file's bearer.
//!
//! Sessions outlive a restart in `sessions.cbor`: the hash of each cookie and
//! its times, nothing else. While the vault is locked a session can only ask to
//! unlock it, so a line forged into that file gains nothing then; and each line
//! carries a proof under the vault's session key, so that it gains nothing
//! after the unlock either: lines without a proof are dropped, except sessions
//! that this very process admitted and the one that gave the passphrase.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use kith_store::{StoreError, write_atomic};
use kith_wire::cbor;
use kith_wire::crypto::{self, Secret};
use kith_wire::labels;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::limits::{Bucket, LINKS_MAX, SESSIONS_MAX};

/// Validity of a sign-in link.
pub const LINK_VALID: Duration = Duration::from_secs(5 * 60);
/// A session that was not used for so long ends.
const SESSION_IDLE_S_MAX: u64 = 30 * 24 * 3600;
/// How stale the last use on disk may be.
const SAVE_USE_AFTER_S: u64 = 3600;
/// Bytes of the file that are read at most.
const FILE_BYTES_MAX: u64 = 64 << 10;
const FILE_VERSION: u16 = 1;

/// SHA-256 of a token: all that is kept of it.
pub type TokenHash = [u8; 32];

/// Why sessions could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The system gave no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {source}. Check its permissions")]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] StoreError),
}

#[derive(Debug, Encode, Decode)]
#[cbor(map)]
struct File {
    #[n(0)]
    version: u16,
    #[cbor(n(1), with = "minicbor::bytes")]
    instance: [u8; 4],
    #[n(2)]
    sessions: Vec<Line>,
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
struct Line {
    #[cbor(n(0), with = "minicbor::bytes")]
    hash: TokenHash,
    #[n(1)]
    created_s: u64,
    #[n(2)]
    used_s: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    proof: Option<[u8; 32]>,
}

#[derive(Debug)]
struct Session {
    line: Line,
    /// Admitted by a link of this process: needs no proof here.
    own: bool,
    saved_use_s: u64,
    bucket: Bucket,
}

struct Inner {
    sessions: Vec<Session>,
    links: Vec<(TokenHash, Instant)>,
    link_door: Bucket,
    bearer: TokenHash,
    bearer_bucket: Bucket,
    key: Option<Secret>,
}

/// All sessions of this node.
pub struct Sessions {
    path: Option<PathBuf>,
    cookie: String,
    inner: Mutex<Inner>,
    /// Changes whenever a session ends.
    ends: watch::Sender<u64>,
}

/// How a known caller proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A browser with this session.
    Browser(TokenHash),
    /// A program with the token file.
    Program,
}

/// Whether a known caller may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Known(Who),
    /// Known, but too fast.
    TooFast,
    /// Not known.
    Unknown,
}

fn random<const N: usize>() -> Result<[u8; N], SessionError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| SessionError::Random(e.to_string()))?;
    Ok(bytes)
}

/// A fresh token in text form: 256 bits.
pub fn new_token() -> Result<String, SessionError> {
    Ok(BASE64URL_NOPAD.encode(&random::<32>()?))
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

fn same(a: &TokenHash, b: &TokenHash) -> bool {
    a.ct_eq(b).into()
}

fn now_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs())
}

fn proof(key: &Secret, line: &Line) -> [u8; 32] {
    let context = [line.hash.as_slice(), &line.created_s.to_be_bytes()].concat();
    *crypto::derive(key, labels::VAULT_SESSION, &context).expose()
}

impl Sessions {
    /// Opens the sessions kept at `path` (none: in memory only), with the
    /// bearer token that programs must show.
    ///
    /// A file that cannot be understood is replaced: everybody signs in anew.
    pub fn open(path: Option<PathBuf>, bearer: &str) -> Result<Self, SessionError> {
        let now = Instant::now();
        let mut file = File { version: FILE_VERSION, instance: random()?, sessions: Vec::new() };
        if let Some(path) = &path {
            let failed = |source| SessionError::Read { path: path.clone(), source };
            if let Some(bytes) = read_bounded(path).map_err(failed)? {
                match cbor::decode::<File>(&bytes, &[0, 1, 2]) {
                    Ok(read) if read.version == FILE_VERSION && read.sessions.len() <= SESSIONS_MAX => {
                        file = read;
                    }
                    _ => {
                        tracing::warn!(
                            "the list of browser sessions was unreadable; everybody signs in anew"
                        );
                    }
                }
            }
        }
        let alive = |line: &Line| now_s().saturating_sub(line.used_s) < SESSION_IDLE_S_MAX;
        let sessions = file.sessions.into_iter().filter(alive).map(|line| Session {
            saved_use_s: line.used_s,
            line,
            own: false,
            bucket: Bucket::browser(now),
        });
        Ok(Self {
            path,
            cookie: format!("kith_session_{}", HEXLOWER.encode(&file.instance)),
            inner: Mutex::new(Inner {
                sessions: sessions.collect(),
                links: Vec::new(),
                link_door: Bucket::links(now),
                bearer: hash(bearer),
                bearer_bucket: Bucket::program(now),
                key: None,
            }),
            ends: watch::Sender::new(0),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name of the session cookie. Cookies do not tell ports apart, so each
    /// node has a name of its own.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.cookie
    }

    /// A fresh one-time link token.
    pub fn new_link(&self) -> Result<String, SessionError> {
        let token = new_token()?;
        let now = Instant::now();
        let mut inner = self.inner();
        inner.links.retain(|(_, until)| *until > now);
        if inner.links.len() >= LINKS_MAX {
            inner.links.remove(0);
        }
        let until = now.checked_add(LINK_VALID).unwrap_or(now);
        inner.links.push((hash(&token), until));
        Ok(token)
    }

    /// Uses up a link token. `Some(cookie value)` if it was valid; `None` if
    /// not, or if too many links are tried.
    pub fn use_link(&self, token: &str) -> Result<Option<String>, SessionError> {
        let now = Instant::now();
        let mut inner = self.inner();
        if !inner.link_door.take(now) {
            return Ok(None);
        }
        let given = hash(token);
        inner.links.retain(|(_, until)| *until > now);
        let Some(at) = inner.links.iter().position(|(known, _)| same(known, &given)) else {
            return Ok(None);
        };
        let cookie = new_token()?;
        inner.links.remove(at);
        let at_s = now_s();
        let mut line = Line { hash: hash(&cookie), created_s: at_s, used_s: at_s, proof: None };
        line.proof = inner.key.as_ref().map(|key| proof(key, &line));
        if inner.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) =
                (0..inner.sessions.len()).min_by_key(|i| inner.sessions.get(*i).map(|s| s.line.used_s))
        {
            inner.sessions.swap_remove(oldest);
            self.ends.send_modify(|n| *n += 1);
        }
        inner.sessions.push(Session { line, own: true, saved_use_s: at_s, bucket: Bucket::browser(now) });
        self.save(&mut inner)?;
        Ok(Some(cookie))
    }

    /// Looks up a session cookie.
    pub fn browser(&self, cookie: &str) -> Pass {
        let given = hash(cookie);
        let (now, at_s) = (Instant::now(), now_s());
        let mut inner = self.inner();
        inner.sessions.retain(|s| at_s.saturating_sub(s.line.used_s) < SESSION_IDLE_S_MAX);
        let Some(session) = inner.sessions.iter_mut().find(|s| same(&s.line.hash, &given)) else {
            return Pass::Unknown;
        };
        session.line.used_s = at_s;
        let stale = at_s.saturating_sub(session.saved_use_s) >= SAVE_USE_AFTER_S;
        let pass = if session.bucket.take(now) { Pass::Known(Who::Browser(given)) } else { Pass::TooFast };
        if stale && self.save(&mut inner).is_err() {
            tracing::warn!("the list of browser sessions could not be written: is the disk full?");
        }
        pass
    }

    /// Looks up a bearer token.
    pub fn program(&self, token: &str) -> Pass {
        let mut inner = self.inner();
        if !same(&inner.bearer, &hash(token)) {
            return Pass::Unknown;
        }
        if inner.bearer_bucket.take(Instant::now()) { Pass::Known(Who::Program) } else { Pass::TooFast }
    }

    /// Ends a session.
    pub fn end(&self, session: &TokenHash) -> Result<(), SessionError> {
        let mut inner = self.inner();
        inner.sessions.retain(|s| !same(&s.line.hash, session));
        self.ends.send_modify(|n| *n += 1);
        self.save(&mut inner)
    }

    /// Whether this caller is still known.
    pub(crate) fn holds(&self, who: Who) -> bool {
        match who {
            Who::Program => true,
            Who::Browser(hash) => self.inner().sessions.iter().any(|s| same(&s.line.hash, &hash)),
        }
    }

    /// Changes whenever a session may have ended.
    pub(crate) fn watch_ends(&self) -> watch::Receiver<u64> {
        self.ends.subscribe()
    }

    /// The vault was opened (by this session, if a browser did it). Sessions
    /// from the file that were not made under this vault end here.
    pub fn unlocked(&self, key: Secret, by: Option<Who>) -> Result<(), SessionError> {
        let mut inner = self.inner();
        inner.sessions.retain_mut(|s| {
            let want = proof(&key, &s.line);
            let keep = s.own
                || s.line.proof.as_ref().is_some_and(|have| same(have, &want))
                || matches!(by, Some(Who::Browser(hash)) if same(&hash, &s.line.hash));
            s.own |= keep;
            s.line.proof = Some(want);
            keep
        });
        inner.key = Some(key);
        self.ends.send_modify(|n| *n += 1);
        self.save(&mut inner)
    }

    /// The vault was locked: the key goes, sessions stay for the next unlock.
    pub fn locked(&self) {
        self.inner().key = None;
    }

    /// Sessions that are known now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner().sessions.len()
    }

    fn save(&self, inner: &mut Inner) -> Result<(), SessionError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut instance = [0; 4];
        if let Some(hex) = self.cookie.rsplit('_').next()
            && let Ok(bytes) = HEXLOWER.decode(hex.as_bytes())
        {
            instance = bytes.try_into().unwrap_or_default();
        }
        let sessions: Vec<Line> = inner.sessions.iter().map(|s| s.line.clone()).collect();
        let bytes = cbor::encode(&File { version: FILE_VERSION, instance, sessions });
        write_atomic(path, &bytes)?;
        for s in &mut inner.sessions {
            s.saved_use_s = s.line.used_s;
        }
        Ok(())
    }
}

fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() <= FILE_BYTES_MAX => fs::read(path).map(Some),
        // Longer than any list of ours: not ours.
        Ok(_) => Ok(Some(Vec::new())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Secret {
        Secret::new([n; 32])
    }
    fn sign_in(sessions: &Sessions) -> String {
        let link = sessions.new_link().unwrap();
        sessions.use_link(&link).unwrap().unwrap()
    }
    fn known(pass: Pass) -> bool {
        matches!(pass, Pass::Known(_))
    }

    #[test]
    fn a_link_works_once() {
        let sessions = Sessions::open(None, "bearer").unwrap();
        let link = sessions.new_link().unwrap();
        assert!(sessions.use_link("something else").unwrap().is_none());
        let cookie = sessions.use_link(&link).unwrap().unwrap();
        assert!(sessions.use_link(&link).unwrap().is_none());
        assert!(known(sessions.browser(&cookie)));
        assert!(!known(sessions.browser(&link)));
    }

    #[test]
    fn links_cannot_be_guessed_at_speed() {
        let sessions = Sessions::open(None, "bearer").unwrap();
        for _ in 0..100 {
            assert!(sessions.use_link("guess").unwrap().is_none());
        }
        let link = sessions.new_link().unwrap();
        assert!(sessions.use_link(&link).unwrap().is_none(), "the door is closed for a while");
    }

    #[test]
    fn links_and_sessions_are_bounded() {
        let sessions = Sessions::open(None, "bearer").unwrap();
        let first = sessions.new_link().unwrap();
        for _ in 0..LINKS_MAX {
            sessions.new_link().unwrap();
        }
        assert!(sessions.use_link(&first).unwrap().is_none());
        assert_eq!(sessions.inner().links.len(), LINKS_MAX);
        for _ in 0..10 {
            sign_in(&sessions);
        }
        assert!(sessions.count() <= SESSIONS_MAX);
    }

    #[test]
    fn sessions_survive_a_restart_and_keep_their_cookie_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.cbor");
        let first = Sessions::open(Some(path.clone()), "bearer").unwrap();
        first.unlocked(key(1), None).unwrap();
        let cookie = sign_in(&first);
        let again = Sessions::open(Some(path), "bearer").unwrap();
        assert_eq!(again.cookie_name(), first.cookie_name());
        assert!(known(again.browser(&cookie)), "while locked, to ask for the unlock");
        again.unlocked(key(1), None).unwrap();
        assert!(known(again.browser(&cookie)), "and after");
    }

    #[test]
    fn a_line_forged_into_the_file_dies_at_the_unlock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.cbor");
        let forger = Sessions::open(Some(path.clone()), "bearer").unwrap();
        forger.unlocked(key(9), None).unwrap();
        let forged = sign_in(&forger);
        let node = Sessions::open(Some(path), "bearer").unwrap();
        let mine = sign_in(&node);
        assert!(known(node.browser(&forged)));
        node.unlocked(key(1), None).unwrap();
        assert!(!known(node.browser(&forged)));
        assert!(known(node.browser(&mine)), "admitted by this process");
    }

    #[test]
    fn a_session_without_proof_stays_if_it_gave_the_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.cbor");
        let cookie = sign_in(&Sessions::open(Some(path.clone()), "b").unwrap());
        let node = Sessions::open(Some(path.clone()), "b").unwrap();
        let Pass::Known(who) = node.browser(&cookie) else { panic!("not known") };
        node.unlocked(key(1), Some(who)).unwrap();
        let later = Sessions::open(Some(path), "b").unwrap();
        later.unlocked(key(1), None).unwrap();
        assert!(known(later.browser(&cookie)));
    }

    #[test]
    fn a_damaged_file_means_signing_in_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.cbor");
        for bytes in [&b"no cbor"[..], &[0xa0], &[0xff; 100_000]] {
            fs::write(&path, bytes).unwrap();
            let sessions = Sessions::open(Some(path.clone()), "bearer").unwrap();
            assert_eq!(sessions.count(), 0);
            sign_in(&sessions);
        }
    }

    #[test]
    fn the_file_holds_no_token_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.cbor");
        let cookie = sign_in(&Sessions::open(Some(path.clone()), "bearer").unwrap());
        let bytes = fs::read(&path).unwrap();
        let raw = BASE64URL_NOPAD.decode(cookie.as_bytes()).unwrap();
        assert!(!bytes.windows(32).any(|w| w == raw.as_slice()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_runaway_tab_is_braked_alone() {
        let sessions = Sessions::open(None, "bearer").unwrap();
        let (a, b) = (sign_in(&sessions), sign_in(&sessions));
        let mut passes = (0..5000).map(|_| sessions.browser(&a));
        assert!(passes.any(|p| p == Pass::TooFast));
        assert!(known(sessions.browser(&b)));
    }

    #[test]
    fn signing_out_ends_the_session() {
        let sessions = Sessions::open(None, "bearer").unwrap();
        let cookie = sign_in(&sessions);
        let Pass::Known(Who::Browser(hash)) = sessions.browser(&cookie) else { panic!("not known") };
        sessions.end(&hash).unwrap();
        assert_eq!(sessions.browser(&cookie), Pass::Unknown);
        assert!(known(sessions.program("bearer")));
        assert_eq!(sessions.program("another"), Pass::Unknown);
    }
}
