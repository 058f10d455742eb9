//! A call endpoint without a browser: sends back what it hears and sees, or
//! sends silence, and measures what comes.
//!
//! Owns the connection and its media; knows nothing of signalling. The only
//! module that names the `webrtc` crate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kith_core::view::CallServers;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::mpsc;
use webrtc::media_stream::Track;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, Registry, StatsSelector,
    register_default_interceptors,
};

use super::measure::{Seen, Stream};

/// Things that happened and were not looked at yet.
const NEWS_MAX: usize = 256;
/// How often a fresh picture is asked for.
const PICTURE_EVERY: Duration = Duration::from_secs(3);
/// A frame of Opus that says nothing, 20 ms.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const OPUS_HZ: u32 = 48_000;
const VP8_HZ: u32 = 90_000;

/// What an endpoint does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends it back.
    Echo,
    /// Measures it, and sends silence.
    Probe,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum News {
    /// An own address.
    Candidate(String),
    /// All own addresses are known.
    Gathered,
    /// There is a path.
    Connected,
    /// There is none, or it broke for good.
    Failed,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    pub(crate) audio: Seen,
    pub(crate) video: Seen,
    /// `host`, `srflx`, `prflx` or `relay` of both ends.
    pub(crate) path: Option<(String, String)>,
    pub(crate) rtt_ms: Option<f64>,
}

#[derive(Default)]
struct Streams {
    audio: Stream,
    video: Stream,
}

struct Tracks {
    audio: Arc<TrackLocalStaticRTP>,
    video: Arc<TrackLocalStaticRTP>,
}

struct Handler {
    kind: Kind,
    news: mpsc::Sender<News>,
    streams: Arc<Mutex<Streams>>,
    tracks: Arc<Tracks>,
}

impl Handler {
    fn tell(&self, news: News) {
        // Whoever does not look for so long will not miss one more.
        let _full = self.news.try_send(news);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            self.tell(News::Candidate(candidate.candidate));
        }
    }
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.tell(News::Gathered);
        }
    }
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.tell(News::Connected),
            RTCPeerConnectionState::Failed => self.tell(News::Failed),
            _ => {}
        }
    }
    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let video = track.kind().await == RtpCodecKind::Video;
        let (out, hz) = if video { (&self.tracks.video, VP8_HZ) } else { (&self.tracks.audio, OPUS_HZ) };
        let out = (self.kind == Kind::Echo).then(|| Arc::clone(out));
        let streams = Arc::clone(&self.streams);
        if video {
            tokio::spawn(ask_for_pictures(Arc::clone(&track)));
        }
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(mut packet) = event else { continue };
                {
                    let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
                    let stream = if video { &mut streams.video } else { &mut streams.audio };
                    let (sequence, stamp) = (packet.header.sequence_number, packet.header.timestamp);
                    stream.packet(Instant::now(), sequence, stamp, packet.payload.len(), hz);
                }
                let Some(out) = &out else { continue };
                let Some(ssrc) = out.ssrcs().await.first().copied() else { continue };
                packet.header.ssrc = ssrc;
                if out.write_rtp(packet).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Asks the sender for whole pictures, so that a picture that was lost in part
/// mends soon.
async fn ask_for_pictures(track: Arc<dyn TrackRemote>) {
    let Some(media_ssrc) = track.ssrcs().await.first().copied() else { return };
    loop {
        let ask = PictureLossIndication { sender_ssrc: 0, media_ssrc };
        if track.write_rtcp(vec![Box::new(ask)]).await.is_err() {
            return;
        }
        tokio::time::sleep(PICTURE_EVERY).await;
    }
}

fn codec(video: bool) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: if video { MIME_TYPE_VP8 } else { MIME_TYPE_OPUS }.to_owned(),
            clock_rate: if video { VP8_HZ } else { OPUS_HZ },
            channels: if video { 0 } else { 2 },
            sdp_fmtp_line: if video { String::new() } else { "minptime=10;useinbandfec=1".to_owned() },
            rtcp_feedback: vec![],
        },
        payload_type: if video { 96 } else { 111 },
    }
}

fn kind_of(video: bool) -> RtpCodecKind {
    if video { RtpCodecKind::Video } else { RtpCodecKind::Audio }
}

fn track(video: bool) -> Result<Arc<TrackLocalStaticRTP>> {
    let mut ssrc = [0; 4];
    getrandom::fill(&mut ssrc).context("drawing a random number")?;
    let name = if video { "video" } else { "audio" };
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(u32::from_be_bytes(ssrc)),
            ..Default::default()
        },
        codec: codec(video).rtp_codec,
        ..Default::default()
    };
    Ok(Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "kith".to_owned(),
        format!("kith-{name}"),
        name.to_owned(),
        kind_of(video),
        vec![coding],
    ))))
}

/// One end of a call.
pub(crate) struct Endpoint {
    connection: Arc<dyn PeerConnection>,
    news: mpsc::Receiver<News>,
    streams: Arc<Mutex<Streams>>,
    tracks: Arc<Tracks>,
}

impl Endpoint {
    /// An end with these servers, not yet in a call.
    pub(crate) async fn new(kind: Kind, servers: &CallServers) -> Result<Self> {
        let mut engine = MediaEngine::default();
        for video in [false, true] {
            engine.register_codec(codec(video), kind_of(video)).context("preparing the codecs")?;
        }
        let registry =
            register_default_interceptors(Registry::new(), &mut engine).context("preparing the repair")?;
        let ice_servers = servers.servers.iter().map(|server| RTCIceServer {
            urls: server.urls.clone(),
            username: server.username.clone().unwrap_or_default(),
            credential: server.credential.clone().unwrap_or_default(),
        });
        let policy =
            if servers.hide_address { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
        let configuration = RTCConfigurationBuilder::new()
            .with_ice_servers(ice_servers.collect())
            .with_ice_transport_policy(policy)
            .build();
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let streams = Arc::new(Mutex::new(Streams::default()));
        let tracks = Arc::new(Tracks { audio: track(false)?, video: track(true)? });
        let handler =
            Handler { kind, news: tell, streams: Arc::clone(&streams), tracks: Arc::clone(&tracks) };
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(vec!["0.0.0.0:0".to_owned()])
            .build()
            .await
            .context("opening a port for the call")?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        for out in [&tracks.audio, &tracks.video] {
            let out: Arc<dyn TrackLocal> = Arc::<TrackLocalStaticRTP>::clone(out);
            connection.add_track(out).await.context("preparing sound and picture")?;
        }
        Ok(Self { connection, news, streams, tracks })
    }

    /// The offer of a new call.
    pub(crate) async fn offer(&self) -> Result<String> {
        let offer = self.connection.create_offer(None).await.context("describing the call")?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await.context("describing the call")?;
        Ok(sdp)
    }

    /// The answer to an offer.
    pub(crate) async fn answer(&self, sdp: String) -> Result<String> {
        let offer = RTCSessionDescription::offer(sdp).context("reading the offer")?;
        self.connection.set_remote_description(offer).await.context("reading the offer")?;
        let answer = self.connection.create_answer(None).await.context("answering")?;
        let sdp = answer.sdp.clone();
        self.connection.set_local_description(answer).await.context("answering")?;
        Ok(sdp)
    }

    /// The other side's answer.
    pub(crate) async fn answered(&self, sdp: String) -> Result<()> {
        let answer = RTCSessionDescription::answer(sdp).context("reading the answer")?;
        self.connection.set_remote_description(answer).await.context("reading the answer")
    }

    /// The description with all addresses, once they are gathered.
    pub(crate) async fn gathered(&mut self, within: Duration) -> Result<String> {
        let all = async {
            while let Some(news) = self.news.recv().await {
                if matches!(news, News::Gathered) {
                    break;
                }
            }
        };
        // With what there is by then it may work as well.
        let _late = tokio::time::timeout(within, all).await;
        match self.connection.local_description().await {
            Some(description) => Ok(description.sdp),
            None => bail!("there is no description of the call yet"),
        }
    }

    /// Addresses of the other side.
    pub(crate) async fn candidates(&self, lines: Vec<String>) {
        for candidate in lines {
            let line = RTCIceCandidateInit { candidate, sdp_mid: Some("0".into()), ..Default::default() };
            // One that cannot be used is no reason to end the call.
            let _unused = self.connection.add_ice_candidate(line).await;
        }
    }

    /// What happens next. None: nothing will.
    pub(crate) async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Sends silence for a while, so that the far end has something to measure.
    pub(crate) async fn say_nothing(&self, for_time: Duration) {
        let Some(ssrc) = self.tracks.audio.ssrcs().await.first().copied() else { return };
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let frames = u32::try_from(for_time.as_millis() / 20).unwrap_or(u32::MAX);
        for n in 0..frames {
            tick.tick().await;
            let mut packet = rtc::rtp::Packet::default();
            packet.header.version = 2;
            packet.header.payload_type = 111;
            packet.header.ssrc = ssrc;
            packet.header.sequence_number = u16::try_from(n & 0xffff).unwrap_or_default();
            packet.header.timestamp = n.wrapping_mul(960);
            packet.payload = SILENCE.to_vec().into();
            if self.tracks.audio.write_rtp(packet).await.is_err() {
                return;
            }
        }
    }

    /// What was measured up to now.
    pub(crate) async fn measured(&self) -> Measured {
        let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let (audio, video) = {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            (streams.audio.seen(), streams.video.seen())
        };
        // As browsers tell it: the names of the fields are the standard's.
        let entries: Vec<serde_json::Value> =
            report.iter().filter_map(|entry| serde_json::to_value(Plain(entry)).ok()).collect();
        let by_id = |id: &str| entries.iter().find(|e| e["id"] == id);
        let selected = entries
            .iter()
            .find_map(|e| e["selectedCandidatePairId"].as_str())
            .and_then(by_id)
            .or_else(|| entries.iter().find(|e| e["nominated"] == true && e["state"] == "succeeded"));
        // An address that nobody told, but that packets came from, is not listed.
        let kind = |id: &serde_json::Value| {
            let listed = by_id(id.as_str()?).and_then(|candidate| candidate["candidateType"].as_str());
            Some(listed.unwrap_or("prflx").to_owned())
        };
        let path = selected
            .and_then(|pair| Some((kind(&pair["localCandidateId"])?, kind(&pair["remoteCandidateId"])?)));
        let rtt = selected.and_then(|pair| pair["currentRoundTripTime"].as_f64());
        Measured { audio, video, path, rtt_ms: rtt.map(|s| s * 1000.0) }
    }

    /// Ends it.
    pub(crate) async fn close(&self) {
        let _closed_already = self.connection.close().await;
    }
}

/// A report's entry by its own shape.
struct Plain<'a>(&'a webrtc::peer_connection::RTCStatsReportEntry);

impl serde::Serialize for Plain<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use webrtc::peer_connection::RTCStatsReportEntry as Entry;
        match self.0 {
            Entry::Transport(e) => e.serialize(s),
            Entry::IceCandidatePair(e) => e.serialize(s),
            Entry::LocalCandidate(e) | Entry::RemoteCandidate(e) => e.serialize(s),
            _ => s.serialize_none(),
        }
    }
}
