//! `kith run`: starts everything, prints the sign-in link, stops on a signal.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kith_web::assets::Embedded;
use kith_web::server::ServeError;
use kith_web::{App, Backend, EventHub, Server, Sessions, sessions};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::commands::Out;
use crate::config::{Config, Origin};
use crate::data::DataDir;
use crate::host::Host;
use crate::network::NetConfig;
use crate::{logs, passphrase};

/// Threads for HTTP and the overlay; the state machine has its own.
const THREADS: usize = 2;
/// Longest wait for requests in progress when stopping.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Runs a node until a signal asks it to stop.
pub(crate) fn run(config: &Config, passphrase_fd: Option<u32>, out: Out) -> Result<()> {
    logs::start(&config.log.value);
    let passphrase = passphrase_fd.map(passphrase::from_fd).transpose()?;
    let data = config.data_dir();
    let lock = data.open()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("starting threads")?;
    let result = runtime.block_on(serve(config, &data, &runtime, passphrase, out));
    data.unpublish();
    runtime.shutdown_timeout(STOP_WITHIN);
    drop(lock);
    result
}

async fn serve(
    config: &Config,
    data: &DataDir,
    runtime: &Runtime,
    passphrase: Option<Zeroizing<String>>,
    out: Out,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let hub = Arc::new(EventHub::new()?);
    let net = NetConfig {
        listen: config.p2p_listen.value.clone(),
        direct: config.direct.value,
        nearby: config.nearby.value,
        upnp: config.upnp.value,
    };
    let handle = runtime.handle().clone();
    let host = Host::new(data.clone(), net, Arc::clone(&hub), handle).map_err(|e| anyhow!(e.message))?;

    let token = sessions::new_token()?;
    let sessions = Arc::new(Sessions::open(Some(data.sessions()), &token)?);
    let server = bind(config, data).await?;
    let address = server.addr();
    let backend: Arc<dyn Backend> = Arc::new(host.clone());
    let app = Arc::new(App::new(backend, Arc::clone(&sessions), hub, Box::new(Embedded), server.host()));

    if let Some(passphrase) = passphrase {
        let key = host.unlock(passphrase).await.map_err(|e| anyhow!(e.message))?;
        sessions.unlocked(key, None)?;
    }
    data.publish(address, &token)?;

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let url = app.link_url(&sessions.new_link()?);
    let serving = tokio::spawn(server.serve(app, async {
        let _either_way = stopped.await;
    }));
    print_link(&url, out);
    tracing::info!("the node is up");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the node stops");
    let _gone_already = stop.send(());
    if tokio::time::timeout(STOP_WITHIN, serving).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    host.shutdown().await;
    Ok(())
}

/// Listens where it is told to; if nobody said where, at last time's port if
/// that is free, so that open pages and bookmarks keep working.
async fn bind(config: &Config, data: &DataDir) -> Result<Server, ServeError> {
    let wanted = config.listen.value;
    let last = data.address().filter(|last| last.ip() == wanted.ip());
    match last {
        Some(last) if config.listen.origin == Origin::Default => match Server::bind(last).await {
            Ok(server) => Ok(server),
            Err(_) => Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await,
        },
        _ => Server::bind(wanted).await,
    }
}

fn print_link(url: &str, out: Out) {
    let mut stdout = std::io::stdout().lock();
    // Nobody may be listening; the node runs all the same.
    let _unheard = if out.json {
        writeln!(stdout, "{}", json!({ "link": url }))
    } else {
        writeln!(stdout, "link: {url}")
    };
    let _unheard = stdout.flush();
}
