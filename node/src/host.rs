//! The node as the HTTP side sees it: fresh, locked or unlocked, and the moves
//! between these.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kith_core::api::{CallCommand, Command, Refusal, Reply};
use kith_core::node::{self, Node};
use kith_core::view::CallServers;
use kith_core::{read, view};
use kith_store::{Read, Store, StoreError};
use kith_web::backend::Later;
use kith_web::{Backend, EventHub, FileSink, FileSource, RelayTest, VaultState};
use kith_wire::crypto::Secret;
use kith_wire::ids::{AccountId, EventId, FileId, GroupId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::data::DataDir;
use crate::driver::{Asker, Driver, FilesPort, Reopen, open_refusal};
use crate::files::{self, Files, Import, Reader};
use crate::network::{Net, NetConfig};
use crate::vault::{self, Pending, store_refusal};
use crate::{calls, probe, system};

/// Tests of the own set-up at once.
const TESTS_MAX: usize = 4;

/// One node on one data folder.
#[derive(Clone)]
pub(crate) struct Host(Arc<Inner>);

struct Inner {
    data: DataDir,
    net: NetConfig,
    hub: Arc<EventHub>,
    runtime: Handle,
    state: Mutex<VaultState>,
    pending: Mutex<Option<Pending>>,
    /// Readers hold it while they read, so that locking waits for them.
    running: RwLock<Option<Running>>,
    /// Held while the state moves.
    moving: tokio::sync::Mutex<()>,
    name: Mutex<Option<String>>,
    /// Tests of the own set-up that may run at once.
    tests: Arc<Semaphore>,
}

struct Running {
    store: Arc<dyn Store>,
    account: AccountId,
    driver: Driver,
    files: Files,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn locked() -> Refusal {
    Refusal::new("locked", "Kith is locked. Unlock it with your passphrase.")
}

fn not_now(message: &str) -> Refusal {
    Refusal::new("not_now", message)
}

impl Host {
    /// Looks at the data folder; whoever calls holds its lock.
    pub(crate) fn new(
        data: DataDir,
        net: NetConfig,
        hub: Arc<EventHub>,
        runtime: Handle,
    ) -> Result<Self, Refusal> {
        let state = if vault::exists(&data)? { VaultState::Locked } else { VaultState::Fresh };
        Ok(Self(Arc::new(Inner {
            data,
            net,
            hub,
            runtime,
            state: Mutex::new(state),
            pending: Mutex::new(None),
            running: RwLock::new(None),
            moving: tokio::sync::Mutex::new(()),
            name: Mutex::new(None),
            tests: Arc::new(Semaphore::new(TESTS_MAX)),
        })))
    }

    /// Stops the node in good order; the vault is locked after it.
    pub(crate) async fn shutdown(&self) {
        let _moving = self.0.moving.lock().await;
        self.close().await;
    }

    async fn close(&self) {
        let files = self.files().ok();
        if let Some(files) = files {
            files.shutdown().await;
        }
        let inner = Arc::clone(&self.0);
        let stopped = self.0.runtime.spawn_blocking(move || {
            let running = inner.running.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Running { store, driver, .. }) = running {
                driver.stop();
                drop(store);
                *lock(&inner.state) = VaultState::Locked;
                *lock(&inner.name) = None;
            }
        });
        if stopped.await.is_err() {
            tracing::error!("the node did not stop in good order");
        }
    }

    /// Does a move that ends with the vault open, on a thread that may wait.
    async fn open_by(
        &self,
        from: VaultState,
        master: impl FnOnce(&Inner) -> Result<Secret, Refusal> + Send + 'static,
    ) -> Result<Secret, Refusal> {
        let _moving = self.0.moving.lock().await;
        match (self.state(), from) {
            (now, from) if now == from => {}
            (VaultState::Unlocked, VaultState::Locked) => return Err(not_now("Kith is unlocked already.")),
            (VaultState::Fresh, _) => {
                return Err(Refusal::new("fresh", "There is no account here yet. Create one first."));
            }
            (_, _) => {
                return Err(not_now("There is an account here already. Unlock it with its passphrase."));
            }
        }
        let inner = Arc::clone(&self.0);
        let opened = self.0.runtime.spawn_blocking(move || {
            let master = master(&inner)?;
            inner.start(&master)?;
            Ok(vault::session_key(&master))
        });
        opened.await.unwrap_or_else(|_| {
            Err(Refusal::new("internal", "The node could not be started. Its log says why."))
        })
    }

    fn asker(&self) -> Result<Asker, Refusal> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.driver.asker()).ok_or_else(locked)
    }

    fn files(&self) -> Result<Files, Refusal> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.files.clone()).ok_or_else(locked)
    }

    /// Reads a snapshot.
    fn read<T>(
        &self,
        read: impl FnOnce(&dyn Read, &AccountId) -> Result<T, StoreError>,
    ) -> Result<T, Refusal> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        let running = running.as_ref().ok_or_else(locked)?;
        let snapshot = running.store.snapshot();
        read(&*snapshot, &running.account).map_err(|e| store_refusal(&e))
    }
}

impl Inner {
    /// Opens store, node and network, and starts the driver.
    fn start(&self, master: &Secret) -> Result<(), Refusal> {
        let store = vault::open_store(&self.data.vault(), master)?;
        let known = read::file_folders(&*store).map_err(|e| store_refusal(&e))?;
        let (tell, heard) = tokio::sync::mpsc::channel(files::HEARD_MAX);
        let (hub, runtime) = (Arc::clone(&self.hub), self.runtime.clone());
        let files =
            Files::open(&self.data.files(), &known, hub, runtime, tell).map_err(|e| store_refusal(&e))?;
        let opener = Opener { store: Arc::clone(&store), net: self.net.clone(), files: files.clone() };
        let node = opener.node().map_err(|e| open_refusal(&e))?;
        let account = node.account();
        let net = {
            let _runtime = self.runtime.enter();
            opener.net(&node).map_err(|e| Refusal::new("network", crate::driver::sentence(&e)))?
        };
        let name = read::me(&*store).map_err(|e| store_refusal(&e))?.map(|me| me.name);
        let runtime = self.runtime.clone();
        let reopen: Reopen = Box::new(move || {
            let node = opener.node().map_err(|e| e.to_string())?;
            let _runtime = runtime.enter();
            let net = opener.net(&node)?;
            Ok((node, net))
        });
        let port = FilesPort { files: files.clone(), heard };
        let driver = Driver::spawn(node, net, reopen, port, Arc::clone(&self.hub), self.runtime.clone())
            .map_err(|e| Refusal::new("internal", format!("The system gives no thread: {e}.")))?;
        *self.running.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Running { store, account, driver, files });
        *lock(&self.name) = name;
        *lock(&self.state) = VaultState::Unlocked;
        Ok(())
    }
}

/// Opens node and network on an open store, as often as needed.
struct Opener {
    store: Arc<dyn Store>,
    net: NetConfig,
    files: Files,
}

impl Opener {
    fn node(&self) -> Result<Node, node::OpenError> {
        let seed = system::random().map_err(|e| node::OpenError::Damaged(e.message))?;
        let config = node::Config { direct: self.net.direct };
        Node::open(Arc::clone(&self.store), config, seed, system::now())
    }
    fn net(&self, node: &Node) -> Result<Net, String> {
        let settings = read::settings(&*self.store).map_err(|e| e.to_string())?;
        let net = Net::start(&self.net, settings.direct, node.transport_seed(), &node.relay_seed())?;
        if let Some(overlay) = net.overlay() {
            self.files.attach(overlay);
        }
        Ok(net)
    }
}

/// A file that is being added.
struct Sink(Import);

impl FileSink for Sink {
    fn write(&mut self, bytes: Vec<u8>) -> Later<'_, ()> {
        Box::pin(self.0.write(bytes))
    }
    fn finish(self: Box<Self>) -> Later<'static, FileId> {
        Box::pin(self.0.finish())
    }
}

/// A file that is being looked at.
struct Source(Reader);

impl FileSource for Source {
    fn read(&mut self, offset: u64) -> Later<'_, Vec<u8>> {
        Box::pin(self.0.read(offset))
    }
}

impl Backend for Host {
    fn state(&self) -> VaultState {
        *lock(&self.0.state)
    }
    fn name(&self) -> Option<String> {
        lock(&self.0.name).clone()
    }

    fn create(&self, name: String, passphrase: Zeroizing<String>) -> Later<'_, Vec<String>> {
        Box::pin(async move {
            let _moving = self.0.moving.lock().await;
            if self.state() != VaultState::Fresh {
                return Err(not_now("There is an account here already. Unlock it with its passphrase."));
            }
            let pending = Pending::new(&name, passphrase)?;
            let words = pending.words();
            *lock(&self.0.pending) = Some(pending);
            Ok(words)
        })
    }
    fn challenge(&self) -> Result<Vec<u32>, Refusal> {
        let pending = lock(&self.0.pending);
        let pending =
            pending.as_ref().ok_or_else(|| not_now("No account is being created. Begin with your name."))?;
        Ok(pending.asked().to_vec())
    }
    fn confirm(&self, answers: Vec<(u32, Zeroizing<String>)>) -> Later<'_, Secret> {
        Box::pin(self.open_by(VaultState::Fresh, move |inner| {
            let mut slot = lock(&inner.pending);
            let pending =
                slot.as_ref().ok_or_else(|| not_now("No account is being created. Begin with your name."))?;
            pending.check(&answers)?;
            let master = pending.write(&inner.data)?;
            *slot = None;
            drop(slot);
            // From here on an account exists, even if it cannot be started now.
            *lock(&inner.state) = VaultState::Locked;
            Ok(master)
        }))
    }
    fn unlock(&self, passphrase: Zeroizing<String>) -> Later<'_, Secret> {
        Box::pin(self.open_by(VaultState::Locked, move |inner| vault::unlock(&inner.data, &passphrase)))
    }
    fn recover(&self, words: Zeroizing<String>, passphrase: Zeroizing<String>) -> Later<'_, Secret> {
        Box::pin(
            self.open_by(VaultState::Locked, move |inner| vault::recover(&inner.data, &words, &passphrase)),
        )
    }
    fn change_passphrase(&self, old: Zeroizing<String>, new: Zeroizing<String>) -> Later<'_, ()> {
        Box::pin(async move {
            let _moving = self.0.moving.lock().await;
            if self.state() != VaultState::Unlocked {
                return Err(locked());
            }
            let data = self.0.data.clone();
            let changed = self.0.runtime.spawn_blocking(move || vault::change_passphrase(&data, &old, &new));
            changed
                .await
                .unwrap_or_else(|_| Err(Refusal::new("internal", "The passphrase could not be changed.")))
        })
    }
    fn lock(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let _moving = self.0.moving.lock().await;
            match self.state() {
                VaultState::Unlocked => {
                    self.close().await;
                    Ok(())
                }
                VaultState::Locked => Ok(()),
                VaultState::Fresh => {
                    Err(not_now("There is no account here yet, so there is nothing to lock."))
                }
            }
        })
    }

    fn command(&self, command: Command) -> Later<'_, Reply> {
        Box::pin(async move {
            let asker = self.asker()?;
            let renamed = matches!(command, Command::SetProfile { .. });
            let reply = asker.ask(command).await?;
            if renamed {
                let host = self.clone();
                let me = self.0.runtime.spawn_blocking(move || host.me()).await;
                if let Ok(Ok(me)) = me {
                    *lock(&self.0.name) = Some(me.name);
                }
            }
            Ok(reply)
        })
    }
    fn test_relay(&self, link: String) -> Later<'_, RelayTest> {
        Box::pin(async move {
            self.asker()?;
            probe::test(&link).await
        })
    }
    fn call_test(&self, sdp: String) -> Later<'_, String> {
        Box::pin(async move {
            let asker = self.asker()?;
            let bad = |_| {
                Refusal::new(
                    "bad_description",
                    "The browser's description of the call is malformed. Reload the page.",
                )
            };
            kith_wire::call::check_sdp(&sdp).map_err(bad)?;
            let Ok(slot) = Arc::clone(&self.0.tests).try_acquire_owned() else {
                return Err(Refusal::new(
                    "slow_down",
                    "Another test is running. Wait a minute, then try again.",
                ));
            };
            let servers = match asker.ask(Command::Call(CallCommand::Servers { account: None })).await? {
                Reply::CallServers(servers) => *servers,
                _ => CallServers::default(),
            };
            calls::test(sdp, servers, slot).await.map_err(|e| {
                Refusal::new("no_endpoint", format!("The node could not answer the test call: {e:#}."))
            })
        })
    }
    fn add_file(&self, name: String, media_type: String, size: u64) -> Later<'_, Box<dyn FileSink>> {
        Box::pin(async move {
            let import = self.files()?.import(name, media_type, size).await?;
            Ok(Box::new(Sink(import)) as Box<dyn FileSink>)
        })
    }
    fn open_file(&self, file: FileId) -> Later<'_, Option<(view::File, Box<dyn FileSource>)>> {
        Box::pin(async move {
            let host = self.clone();
            let found = self.0.runtime.spawn_blocking(move || host.read(|r, _| read::file(r, &file))).await;
            let found = found.map_err(|_| Refusal::new("internal", "The file could not be looked up."))??;
            let Some((blob, view)) = found else { return Ok(None) };
            let reader = self.files()?.reader(file, blob, view.state).await?;
            Ok(Some((view, Box::new(Source(reader)) as Box<dyn FileSource>)))
        })
    }
    fn file_progress(&self, file: FileId) -> Option<view::FileProgress> {
        self.files().ok()?.progress(&file)
    }
    fn network(&self) -> Result<view::Network, Refusal> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        let running = running.as_ref().ok_or_else(locked)?;
        let none = || view::Network { relays: Vec::new(), peers: Vec::new(), addrs: Vec::new(), waiting: 0 };
        Ok(running.driver.latest().network().unwrap_or_else(none))
    }

    fn me(&self) -> Result<view::Me, Refusal> {
        self.read(|r, _| read::me(r))?.ok_or_else(|| {
            Refusal::new("damaged", "The data folder holds no account. Put it back from a copy.")
        })
    }
    fn settings(&self) -> Result<view::Settings, Refusal> {
        self.read(|r, _| read::settings(r))
    }
    fn contacts(&self) -> Result<Vec<view::Contact>, Refusal> {
        self.read(|r, _| read::contacts(r))
    }
    fn invites(&self) -> Result<Vec<view::Invite>, Refusal> {
        self.read(|r, _| read::invites(r, system::now().wall_ms))
    }
    fn safety(&self, account: AccountId) -> Result<Option<view::Safety>, Refusal> {
        self.read(|r, _| read::safety(r, &account))
    }
    fn conversations(&self) -> Result<Vec<view::Conversation>, Refusal> {
        self.read(read::conversations)
    }
    fn conversation(&self, group: GroupId) -> Result<Option<view::ConversationDetails>, Refusal> {
        self.read(|r, me| read::conversation(r, me, &group))
    }
    fn messages(
        &self,
        group: GroupId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Option<view::MessagePage>, Refusal> {
        self.read(|r, me| read::messages(r, me, &group, before, after, limit))
    }
    fn files(
        &self,
        group: GroupId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<view::FilePage>, Refusal> {
        self.read(|r, _| read::files(r, &group, before, limit))
    }
    fn file(&self, file: FileId) -> Result<Option<view::File>, Refusal> {
        Ok(self.read(|r, _| read::file(r, &file))?.map(|(_, view)| view))
    }
    fn storage(&self) -> Result<view::Storage, Refusal> {
        let free_bytes = self.files()?.free_bytes();
        Ok(view::Storage { free_bytes, ..self.read(|r, _| read::storage(r))? })
    }
    fn delivery(&self, group: GroupId, event: EventId) -> Result<Option<view::Delivery>, Refusal> {
        self.read(|r, _| read::delivery(r, &group, &event))
    }
}
