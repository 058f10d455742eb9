//! Gives chunks of a file to a peer that asked for it on a stream.

use std::sync::Arc;
use std::time::Duration;

use kith_core::files::port::Heard;
use kith_overlay::{BlobReader, BlobStream};
use kith_wire::blob::tree::Spot;
use kith_wire::bulk::{ASK_BYTES_MAX, Answer, Ask, WINDOW_MAX};
use kith_wire::ids::{BlobId, PeerKey};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Files;
use super::open::OpenFile;

/// A stream on which nothing is asked for so long is closed.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a peer may take to accept one chunk.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Chunks read from the disk in one go.
const BATCH: usize = 4;

/// Serves one stream to its end.
pub(super) async fn run(files: Files, stream: BlobStream) {
    let BlobStream { peer, reader, mut writer } = stream;
    let (asks, mut wanted) = mpsc::channel(WINDOW_MAX);
    let (frames, mut ready) = mpsc::channel::<Vec<u8>>(BATCH);
    let reading = read(reader, asks);
    let looking = async {
        look(&files, peer, &mut wanted, &frames).await;
        drop(frames);
    };
    let writing = async {
        while let Some(frame) = ready.recv().await {
            files.0.up.pass(frame.len()).await;
            let sent = timeout(WRITE_WITHIN, writer.send(&frame)).await;
            let flushed = ready.is_empty().then(|| writer.flush());
            let flushed = match flushed {
                Some(flush) => timeout(WRITE_WITHIN, flush).await,
                None => Ok(Ok(())),
            };
            if !matches!((sent, flushed), (Ok(Ok(())), Ok(Ok(())))) {
                return;
            }
        }
        writer.close().await;
    };
    tokio::select! {
        // The reader's end closes the channel to the one who looks, which
        // answers what is left and ends the writer.
        ((), ()) = async { tokio::join!(looking, reading) } => {}
        () = writing => {}
    }
}

/// Passes on what is asked until the stream ends, falls silent or says what
/// nobody should.
async fn read(mut reader: BlobReader, asks: mpsc::Sender<Ask>) {
    while let Ok(Ok(Some(frame))) = timeout(SILENCE, reader.next(ASK_BYTES_MAX)).await {
        let Ok(ask) = Ask::from_bytes(&frame) else { return };
        // A full channel stops the reading, and so the far end.
        if asks.send(ask).await.is_err() {
            return;
        }
    }
}

/// Answers what is asked, in its order.
async fn look(
    files: &Files,
    peer: PeerKey,
    wanted: &mut mpsc::Receiver<Ask>,
    frames: &mpsc::Sender<Vec<u8>>,
) {
    let mut open: Option<(BlobId, Arc<OpenFile>)> = None;
    let mut next = None;
    loop {
        let ask = match next.take() {
            Some(ask) => ask,
            None => match wanted.recv().await {
                Some(ask) => ask,
                None => return,
            },
        };
        match ask {
            Ask::Want { root } => {
                // Asked anew each time: who may have it can change.
                open = match files.may_serve(peer, root).await {
                    Some((id, blob)) => files.file(id, blob).await.ok().map(|file| (root, file)),
                    None => None,
                };
                let answer = match &open {
                    Some((_, file)) if file.file.complete() => Answer::Holds { chunks: Vec::new() },
                    Some((_, file)) => Answer::Holds { chunks: file.file.holds() },
                    None => Answer::No,
                };
                if frames.send(answer.to_bytes()).await.is_err() || open.is_none() {
                    return;
                }
            }
            Ask::Get { spot } => {
                let Some((_, file)) = &open else { return };
                let mut spots = vec![spot];
                while spots.len() < BATCH {
                    match wanted.try_recv() {
                        Ok(Ask::Get { spot }) => spots.push(spot),
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                let file = Arc::clone(file);
                let Ok(answers) = files.blocking(move || answers(&file, &spots)).await else { return };
                for frame in answers {
                    if frames.send(frame).await.is_err() {
                        return;
                    }
                }
            }
            Ask::Done => {
                if let Some((root, _)) = open {
                    files.tell(Heard::Got { peer, root }).await;
                }
                return;
            }
        }
    }
}

fn answers(file: &OpenFile, spots: &[Spot]) -> Vec<Vec<u8>> {
    let answer = |spot: &Spot| match file.sealed(*spot) {
        Ok(Some(bytes)) => Answer::Chunk { spot: *spot, bytes },
        Ok(None) | Err(_) => Answer::Lack { spot: *spot },
    };
    spots.iter().map(|spot| answer(spot).to_bytes()).collect()
}
