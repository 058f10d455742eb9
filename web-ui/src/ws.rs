//! One event stream to one browser or program.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::SinkExt;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, interval_at, timeout};

use crate::app::App;
use crate::events::Next;
use crate::limits::{STREAM_BATCH, STREAM_SEND_S_MAX};
use crate::sessions::Who;

/// Close code: the stream fell behind; come back with a resync.
const CLOSE_SLOW: u16 = 4000;
/// Close code: the vault was locked or the session ended.
const CLOSE_LOCKED: u16 = 4001;
/// Close code: the node stops.
const CLOSE_STOPPING: u16 = 1001;
/// How often a silent stream is tried.
const PING_EVERY: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Hello<'a> {
    hello: Start<'a>,
}

#[derive(Serialize)]
struct Start<'a> {
    seq: u64,
    resync: bool,
    run: &'a str,
}

enum End {
    /// The far end is gone.
    Gone,
    /// We close, with this code and reason.
    Close(u16, &'static str),
}

pub(crate) async fn stream(
    app: Arc<App>,
    mut socket: WebSocket,
    after: Option<u64>,
    run: Option<String>,
    who: Who,
    slot: OwnedSemaphorePermit,
) {
    if let End::Close(code, reason) = follow(&app, &mut socket, after, run.as_deref(), who).await {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let _gone_anyway = timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
    }
    drop(slot);
}

async fn follow(app: &App, socket: &mut WebSocket, after: Option<u64>, run: Option<&str>, who: Who) -> End {
    let hub = app.events();
    let mut newest = hub.watch();
    let locks = newest.borrow_and_update().locks;
    let (mut at, resync) = hub.start(after, run);
    let Ok(hello) = serde_json::to_string(&Hello { hello: Start { seq: at, resync, run: hub.run() } }) else {
        return End::Gone;
    };
    if let Err(end) = send(socket, vec![hello.into()]).await {
        return end;
    }
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut heard = true;
    let mut stopping = app.stopping();
    let mut ended = app.sessions().watch_ends();
    loop {
        if newest.borrow_and_update().locks != locks {
            return End::Close(CLOSE_LOCKED, "locked");
        }
        match hub.next(at, STREAM_BATCH) {
            Next::Frames(frames, last) => {
                if let Err(end) = send(socket, frames).await {
                    return end;
                }
                at = last;
                continue;
            }
            Next::Lost => return End::Close(CLOSE_SLOW, "too slow"),
            Next::Nothing => {}
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return End::Gone },
            () = stopped(&mut stopping) => return End::Close(CLOSE_STOPPING, "stopping"),
            changed = ended.changed() => if changed.is_err() || !app.sessions().holds(who) {
                return End::Close(CLOSE_LOCKED, "signed out");
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                // Nothing is asked over this stream; anything shows that the far end lives.
                Some(Ok(_)) => heard = true,
            },
            _ = ping.tick() => {
                if !heard {
                    return End::Gone;
                }
                heard = false;
                let all = timeout(Duration::from_secs(STREAM_SEND_S_MAX), socket.send(Message::Ping(Vec::new().into())));
                if !matches!(all.await, Ok(Ok(()))) {
                    return End::Gone;
                }
            }
        }
    }
}

/// Resolves when the node stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same.
    let _stopped = stopping.wait_for(|stop| *stop).await;
}

async fn send(socket: &mut WebSocket, frames: Vec<Utf8Bytes>) -> Result<(), End> {
    let mut all = futures::stream::iter(frames.into_iter().map(|frame| Ok(Message::Text(frame))));
    match timeout(Duration::from_secs(STREAM_SEND_S_MAX), socket.send_all(&mut all)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(CLOSE_SLOW, "too slow")),
    }
}
