//! `kith call …`: calls without a browser, and the test of one's own set-up.
//!
//! Both commands are clients of the running node like any page: they carry the
//! media of a call, and the node carries its signals.

pub(crate) mod endpoint;
mod measure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use kith_core::api::Event;
use kith_core::view::{
    Call, CallNow, CallOutcome, CallPhase, CallServers, CallSignal, CallSignalKind, Contact,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::cli::CallAction;
use crate::client::Client;
use crate::commands::Out;
use crate::data::DataDir;
use crate::show;
use endpoint::{Endpoint, Kind, Measured, News};

/// How long a probe measures.
const MEASURE: Duration = Duration::from_secs(10);
/// How long a probe waits for an answer, and then for a path.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is told that the endpoint lives.
const KEEP_EVERY: Duration = Duration::from_secs(15);
/// Events of the node that wait to be looked at.
const EVENTS_MAX: usize = 1024;
/// How long gathering addresses may take.
const GATHER: Duration = Duration::from_secs(5);
/// How long a test of the own set-up may last.
const TEST: Duration = Duration::from_secs(60);

/// Runs `kith call …`.
pub(crate) fn run(data: &DataDir, action: &CallAction, out: Out) -> Result<()> {
    let client = Arc::new(Client::of(data)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting threads")?;
    let done = match action {
        CallAction::Echo => runtime.block_on(echo(&client, out)),
        CallAction::Probe { who } => runtime.block_on(probe(&client, who, out)),
    };
    // The thread that follows the events ends with the process.
    runtime.shutdown_background();
    done
}

/// The node's events, as they come.
fn follow(client: &Arc<Client>) -> mpsc::Receiver<Result<Event>> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(default)]
        event: Option<Event>,
    }
    let (tell, events) = mpsc::channel(EVENTS_MAX);
    let client = Arc::clone(client);
    tokio::task::spawn_blocking(move || {
        let ended = client.follow(|text| {
            let frame: Frame = serde_json::from_str(text).context("reading the event stream")?;
            if let Some(event) = frame.event {
                tell.blocking_send(Ok(event)).map_err(|_| anyhow!("done"))?;
            }
            Ok(())
        });
        let error = ended.err().unwrap_or_else(|| anyhow!("the node ended the event stream"));
        let _gone = tell.blocking_send(Err(error));
    });
    events
}

/// The name that this process gives itself towards the node.
fn tab() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("drawing a random number")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn ask<T>(what: impl FnOnce() -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(what)
}

/// One call that this process carries.
struct Line<'a> {
    client: &'a Client,
    tab: &'a str,
    call: String,
    endpoint: Endpoint,
    /// Number of the last signal that was looked at.
    last: u32,
}

impl Line<'_> {
    fn act(&self, mut deed: Value) -> Result<()> {
        if let Some(fields) = deed.as_object_mut() {
            fields.insert("tab".into(), self.tab.into());
        }
        ask(|| self.client.tell(&format!("/calls/{}", self.call), &deed))
    }

    async fn hear(&mut self, signal: CallSignal) -> Result<()> {
        if signal.number <= self.last {
            return Ok(());
        }
        self.last = signal.number;
        match (signal.kind, signal.sdp) {
            (CallSignalKind::Candidates, _) => self.endpoint.candidates(signal.candidates).await,
            (CallSignalKind::Answer, Some(sdp)) => self.endpoint.answered(sdp).await?,
            (CallSignalKind::Offer, Some(sdp)) => {
                let answer = self.endpoint.answer(sdp).await?;
                self.act(json!({"do": "again", "sdp": answer, "to_offer": signal.seq}))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Fetches what came before anybody looked.
    async fn catch_up(&mut self) -> Result<()> {
        let now: CallNow = ask(|| self.client.get(&format!("/calls/{}?after={}", self.call, self.last)))?;
        for signal in now.signals {
            self.hear(signal).await?;
        }
        Ok(())
    }

    fn tell(&self, news: &News) -> Result<()> {
        match news {
            News::Candidate(line) => self.act(json!({"do": "candidates", "candidates": [line]})),
            _ => Ok(()),
        }
    }
}

/// Answers every call, and sends back what it hears and sees.
async fn echo(client: &Arc<Client>, out: Out) -> Result<()> {
    let tab = tab()?;
    let mut events = follow(client);
    out.value(&json!({"echo": "ready"}), || {
        "Answers calls to this node and sends sound and picture back. End it with Ctrl C.".into()
    });
    let waiting: Vec<Call> = ask(|| client.get("/calls"))?;
    let mut line: Option<Line<'_>> = None;
    for call in waiting {
        take(client, &tab, &mut line, &call, out).await?;
    }
    let mut keep = tokio::time::interval(KEEP_EVERY);
    loop {
        let news = async {
            match &mut line {
                Some(line) => line.endpoint.news().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Call { call })) => {
                    let ours = line.as_ref().is_some_and(|l| l.call == call.id);
                    if ours && matches!(call.phase, CallPhase::Over | CallPhase::Elsewhere) {
                        if let Some(line) = line.take() {
                            line.endpoint.close().await;
                        }
                        out.value(&json!({"echo": "over", "call": call}), || "The call is over.".into());
                    } else {
                        take(client, &tab, &mut line, &call, out).await?;
                    }
                }
                Some(Ok(Event::CallSignal { call, signal, .. })) => {
                    if let Some(line) = line.as_mut().filter(|l| l.call == call) {
                        line.hear(signal).await?;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => bail!("the node ended the event stream"),
            },
            news = news => match (&mut line, news) {
                (Some(_), Some(News::Connected)) => {
                    out.value(&json!({"echo": "connected"}), || "Connected.".into());
                }
                (Some(line), Some(News::Failed)) => {
                    ask(|| client.tell(&format!("/calls/{}/hangup", line.call), &json!({"reason": "lost"})))?;
                }
                (Some(line), Some(news)) => {
                    // The call may have ended meanwhile.
                    let _over = line.tell(&news);
                }
                (_, _) => {}
            },
            _ = keep.tick() => {
                if let Some(line) = &line {
                    let _over = line.act(json!({"do": "keep"}));
                }
            }
        }
    }
}

/// Answers a call that rings here, if no other one is carried.
async fn take<'a>(
    client: &'a Client,
    tab: &'a str,
    line: &mut Option<Line<'a>>,
    call: &Call,
    out: Out,
) -> Result<()> {
    if call.phase != CallPhase::Incoming || line.is_some() {
        return Ok(());
    }
    let servers: CallServers = ask(|| client.get(&format!("/call-servers?account={}", call.peer)))?;
    let now: CallNow = match ask(|| client.get(&format!("/calls/{}?after=0", call.id))) {
        Ok(now) => now,
        // It is over already.
        Err(_) => return Ok(()),
    };
    let Some(offer) = now.signals.iter().find(|s| s.kind == CallSignalKind::Offer) else { return Ok(()) };
    let (number, sdp) = (offer.number, offer.sdp.clone().unwrap_or_default());
    let endpoint = Endpoint::new(Kind::Echo, &servers).await?;
    let answer = match endpoint.answer(sdp).await {
        Ok(answer) => answer,
        Err(error) => {
            // A description that cannot be answered ends this call, not the echo.
            ask(|| client.tell(&format!("/calls/{}/hangup", call.id), &json!({})))?;
            out.value(&json!({"echo": "refused"}), || format!("A call could not be answered: {error:#}."));
            return Ok(());
        }
    };
    let mut taken = Line { client, tab, call: call.id.clone(), endpoint, last: number };
    if taken.act(json!({"do": "answer", "sdp": answer})).is_err() {
        // Somebody else was quicker.
        taken.endpoint.close().await;
        return Ok(());
    }
    taken.catch_up().await?;
    out.value(&json!({"echo": "call", "from": call.name}), || format!("{} calls.", show::line(&call.name)));
    *line = Some(taken);
    Ok(())
}

/// Why a probe came to nothing.
fn no_call(outcome: Option<CallOutcome>) -> anyhow::Error {
    anyhow!(match outcome {
        Some(CallOutcome::Declined) => "they declined the call",
        Some(CallOutcome::Busy) => "they are in another call",
        Some(CallOutcome::Unanswered) =>
            "nobody answered: are they online, and is their page open or `kith call echo` running?",
        Some(CallOutcome::GaveWay) => "they are calling you at this moment",
        _ => "the call ended before it was answered",
    })
}

/// Calls somebody, measures the path, hangs up.
async fn probe(client: &Arc<Client>, who: &str, out: Out) -> Result<()> {
    let contacts: Vec<Contact> = ask(|| client.get("/contacts"))?;
    let matches = |c: &&Contact| c.account == who || c.name == who || c.nickname.as_deref() == Some(who);
    let mut found = contacts.iter().filter(matches);
    let contact = found.next().ok_or_else(|| anyhow!("there is no contact with this name or id"))?;
    if found.next().is_some() {
        bail!("several contacts have this name: say their id (`kith contacts`)");
    }
    let conversation = contact.conversation.as_ref().ok_or_else(|| anyhow!("they have not accepted yet"))?;
    let tab = tab()?;
    let mut events = follow(client);
    let servers: CallServers = ask(|| client.get(&format!("/call-servers?account={}", contact.account)))?;
    let endpoint = Endpoint::new(Kind::Probe, &servers).await?;
    let offer = endpoint.offer().await?;
    let begin = Instant::now();
    let begun: Value = ask(|| {
        let body = json!({"sdp": offer, "video": false, "tab": tab});
        client.post(&format!("/conversations/{conversation}/call"), &body)
    })?;
    let call = begun["call"].as_str().ok_or_else(|| anyhow!("the node gave no call"))?.to_owned();
    let mut line = Line { client, tab: &tab, call: call.clone(), endpoint, last: 0 };
    let reached = reach(&mut line, &mut events, begin).await;
    let hang_up =
        |reason: &str| ask(|| client.tell(&format!("/calls/{call}/hangup"), &json!({"reason": reason})));
    let (answered, connected) = match reached {
        Ok(times) => times,
        Err(error) => {
            let _over = hang_up("lost");
            line.endpoint.close().await;
            return Err(error);
        }
    };
    line.endpoint.say_nothing(MEASURE).await;
    let measured = line.endpoint.measured().await;
    let _over_already = hang_up("hung_up");
    line.endpoint.close().await;
    tell(out, &measured, answered, connected);
    Ok(())
}

/// Waits for the answer and the path. How long each took.
async fn reach(
    line: &mut Line<'_>,
    events: &mut mpsc::Receiver<Result<Event>>,
    begin: Instant,
) -> Result<(Duration, Duration)> {
    let mut answered = None;
    line.catch_up().await?;
    let late = tokio::time::sleep(PATIENCE);
    tokio::pin!(late);
    loop {
        tokio::select! {
            () = &mut late => bail!(
                "no path was found within {} s: neither directly nor through a relay. Is UDP blocked on one side?",
                PATIENCE.as_secs()
            ),
            event = events.recv() => match event {
                Some(Ok(Event::Call { call })) if call.id == line.call => match call.phase {
                    CallPhase::Over => return Err(no_call(call.outcome)),
                    CallPhase::Active => {
                        answered.get_or_insert_with(|| begin.elapsed());
                    }
                    _ => {}
                },
                Some(Ok(Event::CallSignal { call, signal, .. })) if call == line.call => {
                    line.hear(signal).await?;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => bail!("the node ended the event stream"),
            },
            news = line.endpoint.news() => match news {
                Some(News::Connected) => {
                    let connected = begin.elapsed();
                    return Ok((answered.unwrap_or(connected), connected));
                }
                Some(News::Failed) => bail!("no path was found: neither directly nor through a relay"),
                Some(news) => line.tell(&news)?,
                None => bail!("the call's port was closed"),
            },
        }
    }
}

fn tell(out: Out, measured: &Measured, answered: Duration, connected: Duration) {
    let path = match &measured.path {
        Some((mine, theirs)) if mine == "relay" || theirs == "relay" => "relay",
        Some((mine, theirs)) if mine == "host" && theirs == "host" => "same network",
        Some(_) => "direct",
        None => "unknown",
    };
    let Measured { audio, video, rtt_ms, .. } = measured;
    let (packets, lost) = (audio.packets + video.packets, audio.lost + video.lost);
    #[expect(clippy::cast_precision_loss, reason = "counts of ten seconds")]
    let loss = if packets + lost == 0 { 0.0 } else { lost as f64 * 100.0 / (packets + lost) as f64 };
    let jitter = audio.jitter_ms;
    let value = json!({
        "path": path, "answered_ms": answered.as_millis(), "connected_ms": connected.as_millis(),
        "packets": packets, "loss_percent": loss, "jitter_ms": jitter, "rtt_ms": rtt_ms,
        "video_packets": video.packets,
    });
    out.value(&value, || {
        let mut text = format!("call.path: {path}\n");
        text.push_str(&format!("call.answered: {} ms\n", answered.as_millis()));
        text.push_str(&format!("call.connected: {} ms\n", connected.as_millis()));
        text.push_str(&format!("call.packets: {packets} packets\n"));
        text.push_str(&format!("call.loss: {loss:.2} %\n"));
        text.push_str(&format!("call.jitter: {jitter:.2} ms\n"));
        if let Some(rtt) = rtt_ms {
            text.push_str(&format!("call.rtt: {rtt:.1} ms\n"));
        }
        if packets == 0 {
            text.push_str("Nothing was heard from the other side, though a path was found.\n");
        }
        text
    });
}

/// Answers the own page, so that a person can test their set-up alone: sound
/// and picture go to this node and back. Answers the description with all of
/// the node's addresses; the endpoint ends by itself.
pub(crate) async fn test(sdp: String, servers: CallServers, slot: OwnedSemaphorePermit) -> Result<String> {
    let mut endpoint = Endpoint::new(Kind::Echo, &servers).await?;
    endpoint.answer(sdp).await?;
    let answer = endpoint.gathered(GATHER).await?;
    tokio::spawn(async move {
        let over = async {
            while let Some(news) = endpoint.news().await {
                if matches!(news, News::Failed) {
                    break;
                }
            }
        };
        let _time_is_up = tokio::time::timeout(TEST, over).await;
        endpoint.close().await;
        drop(slot);
    });
    Ok(answer)
}
