//! The thread that owns the state machine: it feeds inputs in bursts, makes
//! each burst durable with one write, and only then lets outputs out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kith_core::api::{Command, Event, Input, Output, Refusal, Reply};
use kith_core::files::port::Heard;
use kith_core::node::{Node, OpenError};
use kith_core::view;
use kith_store::StoreError;
use kith_web::EventHub;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::files::Files;
use crate::network::Net;
use crate::system;

/// Inputs that share one write.
const BURST_MAX: usize = 256;
/// Commands that wait for the thread; further callers wait to put theirs in.
const COMMANDS_MAX: usize = 1024;
/// Wait before another try to open the node after a failed write.
const REOPEN_AFTER: Duration = Duration::from_secs(2);
/// How often a busy overlay is tried again.
const NET_RETRY: Duration = Duration::from_millis(1);

/// How long the control waits between sending and writing.
#[cfg(feature = "test-early-send")]
const EARLY_WINDOW: Duration = Duration::from_millis(3);

type Answer = oneshot::Sender<Result<Reply, Refusal>>;

/// A command and where its answer goes.
struct Asked {
    command: Command,
    answer: Answer,
}

/// Opens the node again after a failed write.
pub(crate) type Reopen = Box<dyn FnMut() -> Result<(Node, Net), String> + Send>;

/// What the thread tells others without being asked.
#[derive(Default)]
pub(crate) struct Latest {
    network: Mutex<Option<view::Network>>,
}

impl Latest {
    pub(crate) fn network(&self) -> Option<view::Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The part that moves the bytes of files, and what it has to say.
pub(crate) struct FilesPort {
    pub(crate) files: Files,
    pub(crate) heard: mpsc::Receiver<Heard>,
}

/// The handle of a running driver.
pub(crate) struct Driver {
    commands: mpsc::Sender<Asked>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    latest: Arc<Latest>,
}

/// Asks the driver things; cheap to clone.
#[derive(Clone)]
pub(crate) struct Asker(mpsc::Sender<Asked>);

impl Asker {
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, Refusal> {
        let (answer, reply) = oneshot::channel();
        let stopping =
            || Refusal::new("stopping", "The node is stopping. Nothing was changed; try again later.");
        self.0.send(Asked { command, answer }).await.map_err(|_| stopping())?;
        reply.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Driver {
    /// Starts the thread.
    pub(crate) fn spawn(
        node: Node,
        net: Net,
        reopen: Reopen,
        port: FilesPort,
        hub: Arc<EventHub>,
        runtime: Handle,
    ) -> Result<Self, std::io::Error> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopped) = oneshot::channel();
        let latest = Arc::new(Latest::default());
        let worker = Worker {
            node,
            net,
            reopen,
            port,
            hub,
            latest: Arc::clone(&latest),
            commands: inbox,
            stopped,
            answers: BTreeMap::new(),
            next_id: 0,
            runtime,
        };
        worker.port.files.set_asker(Asker(commands.clone()));
        let thread = std::thread::Builder::new().name("node".into()).spawn(move || worker.run())?;
        Ok(Self { commands, stop, thread, latest })
    }
    pub(crate) fn asker(&self) -> Asker {
        Asker(self.commands.clone())
    }
    pub(crate) fn latest(&self) -> &Latest {
        &self.latest
    }
    /// Finishes the burst in progress, closes the network and ends the thread.
    /// The part that moves files is stopped before.
    /// Waits for it: not to be called where waiting is not allowed.
    pub(crate) fn stop(self) {
        let _gone_already = self.stop.send(());
        drop(self.commands);
        if self.thread.join().is_err() {
            tracing::error!("the node's thread ended with a fault");
        }
    }
}

/// What ended a wait.
enum Wake {
    Input(Box<Incoming>),
    Tick,
    NetGone,
    Stop,
}

enum Incoming {
    Command(Asked),
    Net(kith_wire::net::NetEvent),
    File(Heard),
}

/// An answer that is owed, and the setting that takes effect with it.
struct Owed {
    answer: Answer,
    direct: Option<bool>,
}

struct Worker {
    node: Node,
    net: Net,
    reopen: Reopen,
    port: FilesPort,
    hub: Arc<EventHub>,
    latest: Arc<Latest>,
    commands: mpsc::Receiver<Asked>,
    stopped: oneshot::Receiver<()>,
    answers: BTreeMap<u64, Owed>,
    next_id: u64,
    runtime: Handle,
}

impl Worker {
    fn run(mut self) {
        // What opening led to.
        let mut usable = self.settle();
        loop {
            if !usable && !self.start_again() {
                break;
            }
            let runtime = self.runtime.clone();
            usable = match runtime.block_on(self.wait()) {
                Wake::Stop => break,
                Wake::NetGone => {
                    tracing::error!("the network part ended; it is started again");
                    false
                }
                Wake::Tick => {
                    self.node.handle(system::now(), Input::Tick);
                    self.settle()
                }
                Wake::Input(first) => {
                    self.burst(*first);
                    self.settle()
                }
            };
        }
        self.refuse_all(&Refusal::new(
            "stopping",
            "The node is stopping. Nothing was changed; try again later.",
        ));
        self.runtime.block_on(self.net.shutdown());
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.node.poll_timeout().map(|at| tokio::time::Instant::from_std(system::instant(at)));
        let tick = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(tick);
        loop {
            let waiting = self.net.waiting();
            tokio::select! {
                biased;
                _ = &mut self.stopped => return Wake::Stop,
                asked = self.commands.recv() => {
                    return asked.map_or(Wake::Stop, |asked| Wake::Input(Box::new(Incoming::Command(asked))));
                }
                event = self.net.next() => {
                    return event.map_or(Wake::NetGone, |event| Wake::Input(Box::new(Incoming::Net(event))));
                }
                heard = self.port.heard.recv() => {
                    return heard.map_or(Wake::Stop, |heard| Wake::Input(Box::new(Incoming::File(heard))));
                }
                () = &mut tick => return Wake::Tick,
                () = tokio::time::sleep(NET_RETRY), if waiting => self.net.flush(),
            }
        }
    }

    /// Feeds everything that is there by now, commands and network in turn.
    fn burst(&mut self, first: Incoming) {
        self.feed(first);
        let mut fed = 1;
        while fed < BURST_MAX {
            let command = self.commands.try_recv().ok().map(Incoming::Command);
            let event = self.net.try_next().map(Incoming::Net);
            let heard = self.port.heard.try_recv().ok().map(Incoming::File);
            if command.is_none() && event.is_none() && heard.is_none() {
                break;
            }
            for incoming in command.into_iter().chain(event).chain(heard) {
                self.feed(incoming);
                fed += 1;
            }
        }
    }

    fn feed(&mut self, incoming: Incoming) {
        let input = match incoming {
            Incoming::Net(event) => Input::Net(event),
            Incoming::File(heard) => Input::File(heard),
            Incoming::Command(Asked { command, answer }) => {
                let id = self.next_id;
                self.next_id += 1;
                let direct =
                    if let Command::SetSettings(settings) = &command { Some(settings.direct) } else { None };
                self.answers.insert(id, Owed { answer, direct });
                Input::Command { id, command }
            }
        };
        self.node.handle(system::now(), input);
    }

    /// Makes the burst durable, then lets its outputs out. `false`: it could
    /// not be written, and the node must be opened again.
    fn settle(&mut self) -> bool {
        #[cfg(feature = "test-early-send")]
        if kith_core::node::EARLY_SEND.load(std::sync::atomic::Ordering::Relaxed) {
            self.let_out();
            // The control is to show what the order is for: a disk that takes
            // its time makes the window wide enough to be hit.
            std::thread::sleep(EARLY_WINDOW);
        }
        match self.node.commit() {
            Ok(()) => {
                self.let_out();
                true
            }
            Err(error) => {
                self.refuse_all(&not_written(&error));
                false
            }
        }
    }

    /// Before the ciphertexts leave: what does not leave is not traced.
    #[cfg(feature = "test-trace")]
    fn write_traces(&mut self) {
        use std::io::Write as _;
        let lines = self.node.take_traces();
        let Some(path) = std::env::var_os("KITH_TEST_TRACE").filter(|_| !lines.is_empty()) else { return };
        let mut text = lines.join("\n");
        text.push('\n');
        let written = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        if written.is_err() {
            tracing::error!("the trace could not be written");
        }
    }

    fn let_out(&mut self) {
        #[cfg(feature = "test-trace")]
        self.write_traces();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Net(command) => self.net.push(command),
                Output::File(order) => self.port.files.perform(order),
                Output::Reply { id, result } => self.answer(id, result),
                Output::Event(event) => {
                    if let Event::Network { network } = &event {
                        let mut latest = self.latest.network.lock().unwrap_or_else(PoisonError::into_inner);
                        *latest = Some((**network).clone());
                    }
                    self.hub.publish(&event);
                }
            }
        }
        self.net.flush();
    }

    fn answer(&mut self, id: u64, result: Result<Reply, Refusal>) {
        let Some(owed) = self.answers.remove(&id) else { return };
        if let (Ok(_), Some(direct)) = (&result, owed.direct) {
            self.net.set_direct(direct);
        }
        // Whoever asked may have gone.
        let _gone = owed.answer.send(result);
    }

    fn refuse_all(&mut self, refusal: &Refusal) {
        for (_, owed) in std::mem::take(&mut self.answers) {
            let _gone = owed.answer.send(Err(refusal.clone()));
        }
    }

    /// After a failed write memory and disk differ: opens the node anew, and
    /// the network with it, as often as it takes. `false`: asked to stop.
    fn start_again(&mut self) -> bool {
        let runtime = self.runtime.clone();
        runtime.block_on(self.net.shutdown());
        loop {
            match (self.reopen)() {
                Ok((node, net)) => {
                    (self.node, self.net) = (node, net);
                    if self.settle() {
                        tracing::info!("the node was opened again after a failed write");
                        return true;
                    }
                    runtime.block_on(self.net.shutdown());
                }
                Err(_) => tracing::error!("the node could not be opened again; next try in two seconds"),
            }
            if !runtime.block_on(self.refuse_for(REOPEN_AFTER)) {
                return false;
            }
        }
    }

    /// Answers commands with a refusal for a while. `false`: asked to stop.
    async fn refuse_for(&mut self, time: Duration) -> bool {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                _ = &mut self.stopped => return false,
                () = &mut end => return true,
                asked = self.commands.recv() => {
                    let Some(asked) = asked else { return false };
                    let _gone = asked.answer.send(Err(not_written(&StoreError::Io("it failed before".into()))));
                }
            }
        }
    }
}

fn not_written(error: &StoreError) -> Refusal {
    Refusal::new("disk", format!("Nothing was changed, because the data could not be written: {error}."))
}

/// Why a node could not be opened, as an answer to a person.
pub(crate) fn open_refusal(error: &OpenError) -> Refusal {
    match error {
        OpenError::Store(error) => crate::vault::store_refusal(error),
        OpenError::Empty | OpenError::Damaged(_) => Refusal::new("damaged", sentence(error)),
        OpenError::Name(_) => Refusal::new("invalid_name", sentence(error)),
    }
}

/// An error's words as a sentence.
pub(crate) fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kith_core::node::Config;
    use kith_core::read;
    use kith_store::{MemoryStore, Store};

    use super::*;
    use crate::network::NetConfig;

    fn net(node: &Node) -> Net {
        let config = NetConfig {
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
            direct: true,
            nearby: false,
            upnp: false,
        };
        Net::start(&config, true, node.transport_seed(), &node.relay_seed()).unwrap()
    }

    /// A driver on a store whose next writes fail as often as the counter says.
    fn lab(failures: &Arc<AtomicUsize>) -> (tokio::runtime::Runtime, MemoryStore, Driver) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let left = Arc::clone(failures);
        let store = MemoryStore::with_hook(Box::new(move |_, _| {
            let take = |n: usize| n.checked_sub(1);
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                Ok(_) => Err(StoreError::Full("test".into())),
                Err(_) => Ok(()),
            }
        }));
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let config = Config::default;
        let node =
            Node::create(Arc::clone(&shared), [7; 32], "Alice", config(), [1; 32], system::now()).unwrap();
        let entered = runtime.enter();
        let first = net(&node);
        drop(entered);
        let handle = runtime.handle().clone();
        let reopen: Reopen = Box::new(move || {
            let seed = system::random().map_err(|e| e.message)?;
            let node =
                Node::open(Arc::clone(&shared), config(), seed, system::now()).map_err(|e| e.to_string())?;
            let _entered = handle.enter();
            let net = net(&node);
            Ok((node, net))
        });
        let hub = Arc::new(EventHub::new().unwrap());
        let (tell, heard) = mpsc::channel(crate::files::HEARD_MAX);
        let folder = tempfile::tempdir().unwrap();
        let files =
            Files::open(&folder.path().join("files"), &[], Arc::clone(&hub), runtime.handle().clone(), tell)
                .unwrap();
        let port = FilesPort { files, heard };
        let driver = Driver::spawn(node, first, reopen, port, hub, runtime.handle().clone()).unwrap();
        (runtime, store, driver)
    }

    fn name(name: &str) -> Command {
        Command::SetProfile { name: name.into(), about: String::new() }
    }

    #[test]
    fn a_burst_that_cannot_be_written_is_refused_and_the_node_goes_on() {
        let failures = Arc::new(AtomicUsize::new(0));
        let (runtime, store, driver) = lab(&failures);
        let asker = driver.asker();
        assert_eq!(runtime.block_on(asker.ask(name("Alicia"))), Ok(Reply::Done));
        failures.store(1, Ordering::SeqCst);
        let refused = runtime.block_on(asker.ask(name("Lost"))).unwrap_err();
        assert_eq!(refused.code, "disk");
        assert!(refused.message.contains("full"), "{}", refused.message);
        assert_eq!(read::me(&store).unwrap().unwrap().name, "Alicia");
        assert_eq!(runtime.block_on(asker.ask(name("Ali"))), Ok(Reply::Done));
        assert_eq!(read::me(&store).unwrap().unwrap().name, "Ali");
        driver.stop();
        assert_eq!(runtime.block_on(asker.ask(name("Late"))).unwrap_err().code, "stopping");
    }

    #[test]
    fn many_commands_at_once_are_each_answered() {
        let (runtime, store, driver) = lab(&Arc::new(AtomicUsize::new(0)));
        let before = store.writes();
        let asks = (0..500).map(|n| {
            let asker = driver.asker();
            runtime.spawn(async move { asker.ask(name(&format!("A{n}"))).await })
        });
        let asks: Vec<_> = asks.collect();
        for ask in asks {
            assert_eq!(runtime.block_on(ask).unwrap(), Ok(Reply::Done));
        }
        assert!(store.writes() - before <= 500);
        driver.stop();
    }

    #[test]
    fn an_error_becomes_a_sentence() {
        assert_eq!(sentence(&"the disk is full"), "The disk is full.");
        assert_eq!(sentence(&"Done."), "Done.");
        assert_eq!(sentence(&""), ".");
    }
}
