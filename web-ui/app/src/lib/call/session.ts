// The call that this page carries: its connection, its media, and what is done
// when the path breaks. One at a time.

import { applyCall, callApi, calls, isCallEvent, notOvertaken, refreshCalls, tab } from "../../api/calls";
import { ApiError, sentence } from "../../api/client";
import { Value } from "../../api/store";
import type { Call, CallServers, CallSignal, NodeEvent } from "../../api/types";
import { t } from "../../i18n";
import { clean } from "../text";
import { toast } from "../../ui/toasts";
import { openCamera, openMicrophone, openScreen } from "./devices";
import { qualityOf, sampleOf, type Quality, type Sample } from "./quality";

export type Connection = "preparing" | "waiting" | "connecting" | "connected" | "reconnecting";

/** What the view shows of the call that this page carries. */
export type Shown = {
  call: Call | null;
  /** With whom. */
  name: string;
  peer: string;
  conversation: string;
  connection: Connection;
  microphone: boolean;
  camera: boolean;
  screen: boolean;
  local: MediaStream | null;
  remote: MediaStream;
  quality: Quality | null;
  /** When they began to talk, by this page's clock. */
  since: number | null;
  expanded: boolean;
};

export const shown = new Value<Shown | null>(null);

const BATCH_MS = 60;
const STATS_MS = 2_000;
const KEEP_MS = 15_000;
/** How long a broken path is mended before the call is given up. */
const MEND_MS_MAX = 60_000;
const MEND_EVERY_MS = 5_000;
/** A short gap mends itself. */
const GAP_MS = 2_000;

/** Voice and picture with their repair first; everything else behind. */
function preferCodecs(transceiver: RTCRtpTransceiver, kind: "audio" | "video") {
  const known = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const order = kind === "audio" ? ["audio/opus", "audio/red"] : ["video/vp8", "video/rtx", "video/red", "video/ulpfec"];
  const first = order.flatMap((type) => known.filter((codec) => codec.mimeType.toLowerCase() === type));
  if (first.length > 0) transceiver.setCodecPreferences(first);
}

function mediaProblem(cause: unknown): string {
  const name = cause instanceof DOMException ? cause.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return t.call.denied;
  if (name === "NotFoundError" || name === "OverconstrainedError") return t.call.noDevice;
  if (name === "NotReadableError") return t.call.deviceBusy;
  return cause instanceof ApiError ? sentence(cause) : t.call.failed;
}

/** The relays' servers as the browser wants them. */
export function iceServersOf({ servers }: CallServers): RTCIceServer[] {
  return servers.map(({ urls, username, credential }) => (username === null || credential === null ? { urls } : { urls, username, credential }));
}

type Whom = { conversation: string; peer: string; name: string };

class Session {
  private pc: RTCPeerConnection | null = null;
  private id: string | null = null;
  private audio: RTCRtpSender | null = null;
  private video: RTCRtpSender | null = null;
  private microphoneTrack: MediaStreamTrack | null = null;
  private cameraTrack: MediaStreamTrack | null = null;
  private screenTrack: MediaStreamTrack | null = null;
  private readonly remote = new MediaStream();
  private outbox: string[] = [];
  private outboxTimer: ReturnType<typeof setTimeout> | undefined;
  private early: string[] = [];
  private lastSignal = 0;
  private expected: string | null = null;
  private checked = false;
  private before: Sample | null = null;
  private readonly timers: ReturnType<typeof setInterval>[] = [];
  private brokenSince: number | null = null;
  private mendTimer: ReturnType<typeof setTimeout> | undefined;
  private ended = false;
  /** Signals are worked off one after the other. */
  private work: Promise<void> = Promise.resolve();

  constructor(
    readonly whom: Whom,
    private readonly outgoing: boolean,
    private readonly wantsVideo: boolean,
  ) {
    shown.set({
      ...whom,
      call: null,
      connection: "preparing",
      microphone: true,
      camera: wantsVideo,
      screen: false,
      local: null,
      remote: this.remote,
      quality: null,
      since: null,
      expanded: true,
    });
  }

  private show(fields: Partial<Shown>) {
    const now = shown.get();
    if (now !== null && !this.ended) shown.set({ ...now, ...fields });
  }

  get callId(): string | null {
    return this.id;
  }

  /** A device that was opened for this call: let go of at once if it is over. */
  private held(track: MediaStreamTrack): MediaStreamTrack {
    if (!this.ended) return track;
    track.stop();
    throw new DOMException("over", "AbortError");
  }

  private async openCamera() {
    let track: MediaStreamTrack;
    try {
      track = await openCamera();
    } catch (cause) {
      // Without a picture it is still a call.
      toast.refusal(mediaProblem(cause));
      return;
    }
    this.cameraTrack = this.held(track);
  }

  private async openMicrophone() {
    this.microphoneTrack = this.held(await openMicrophone());
  }

  /** Microphone, and camera where wanted. */
  private async openDevices() {
    const camera = this.wantsVideo ? this.openCamera() : null;
    await Promise.all([this.openMicrophone(), camera]);
    this.show({ camera: this.cameraTrack !== null, local: this.cameraTrack === null ? null : new MediaStream([this.cameraTrack]) });
  }

  /** A connection with the relays' servers. */
  private async connect() {
    const servers = await callApi.servers(this.whom.peer);
    if (this.ended) throw new DOMException("over", "AbortError");
    const iceServers = iceServersOf(servers);
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: servers.hide_address ? "relay" : "all", bundlePolicy: "max-bundle" });
    this.pc = pc;
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== "") this.post(candidate.candidate);
    });
    pc.addEventListener("track", ({ track }) => {
      this.remote.addTrack(track);
      this.show({});
    });
    pc.addEventListener("iceconnectionstatechange", () => this.pathChanged());
    pc.addEventListener("connectionstatechange", () => this.pathChanged());
    return pc;
  }

  private prepare(audio: RTCRtpTransceiver, video: RTCRtpTransceiver) {
    for (const [transceiver, kind] of [[audio, "audio"], [video, "video"]] as const) {
      transceiver.direction = "sendrecv";
      preferCodecs(transceiver, kind);
    }
    this.audio = audio.sender;
    this.video = video.sender;
  }

  /** What the devices give is sent, and from here on addresses are gathered. */
  private async begin(pc: RTCPeerConnection, own: RTCSessionDescriptionInit) {
    await Promise.all([this.audio?.replaceTrack(this.microphoneTrack), this.video?.replaceTrack(this.cameraTrack)]);
    await pc.setLocalDescription(own);
  }

  private async offer() {
    const pc = await this.connect();
    this.prepare(pc.addTransceiver("audio"), pc.addTransceiver("video"));
    return { pc, offer: await pc.createOffer() };
  }

  /** Calls. Nobody is rung before the devices are open. */
  async dial() {
    const [{ pc, offer }] = await Promise.all([this.offer(), this.openDevices()]);
    await this.begin(pc, offer);
    const { call } = await callApi.dial(this.whom.conversation, offer.sdp ?? "", this.wantsVideo);
    this.begun(call);
    this.show({ connection: "waiting", call: calls.get().find((c) => c.id === call) ?? null });
  }

  private async accept(call: Call) {
    const [pc, now] = await Promise.all([this.connect(), callApi.now(call.id, 0)]);
    const offer = now.signals.find((s) => s.kind === "offer");
    const sdp = offer?.sdp ?? null;
    if (offer === undefined || sdp === null) throw new ApiError(409, "call_over", t.call.over);
    this.expected = offer.fingerprint;
    this.lastSignal = offer.number;
    await pc.setRemoteDescription({ type: "offer", sdp });
    const [audio, video] = [pc.getTransceivers()[0], pc.getTransceivers()[1]];
    if (audio === undefined || video === undefined) throw new ApiError(409, "call_over", t.call.failed);
    this.prepare(audio, video);
    return { pc, later: now.signals.filter((s) => s.number > offer.number), answer: await pc.createAnswer() };
  }

  /** Takes a call that rings. */
  async answer(call: Call) {
    const [{ pc, later, answer }] = await Promise.all([this.accept(call), this.openDevices()]);
    await this.begin(pc, answer);
    await callApi.act(call.id, { do: "answer", sdp: answer.sdp ?? "" });
    this.begun(call.id);
    this.show({ connection: "connecting", call: calls.get().find((c) => c.id === call.id) ?? call });
    for (const signal of later) this.hear(signal);
  }

  /** From here on the node knows that this page carries the call. */
  private begun(id: string) {
    this.id = id;
    if (this.ended) {
      void callApi.hangUp(id).catch(() => undefined);
      return;
    }
    this.post(null);
    void this.catchUp();
    this.timers.push(
      setInterval(() => void callApi.act(id, { do: "keep" }).catch((cause: unknown) => this.failedToKeep(cause)), KEEP_MS),
      setInterval(() => void this.measure(), STATS_MS),
    );
  }

  private failedToKeep(cause: unknown) {
    // The node has ended it, or was started anew.
    if (cause instanceof ApiError && !cause.offline && (cause.status === 409 || cause.status === 404)) this.end();
  }

  /** Fetches what may have been missed. */
  async catchUp() {
    const { id } = this;
    if (id === null) return;
    try {
      const call = await notOvertaken(async () => {
        const now = await callApi.now(id, this.lastSignal);
        for (const signal of now.signals) this.hear(signal);
        return now.call;
      });
      if (call !== null) this.called(call);
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 404) this.end();
    }
  }

  /** Gathers addresses for a moment, then sends them together. */
  private post(line: string | null) {
    if (line !== null) this.outbox.push(line);
    if (this.id === null || this.outboxTimer !== undefined || this.outbox.length === 0) return;
    this.outboxTimer = setTimeout(() => {
      this.outboxTimer = undefined;
      const lines = this.outbox.splice(0, 16);
      if (this.id !== null && lines.length > 0) void callApi.act(this.id, { do: "candidates", candidates: lines }).catch(() => undefined);
      this.post(null);
    }, BATCH_MS);
  }

  /** Something of the other side. */
  hear(signal: CallSignal) {
    if (signal.number <= this.lastSignal) return;
    this.lastSignal = signal.number;
    this.work = this.work.then(() => this.take(signal)).catch(() => undefined);
  }

  private async take(signal: CallSignal) {
    const { pc, id } = this;
    if (pc === null || id === null || this.ended) return;
    switch (signal.kind) {
      case "answer":
        if (signal.sdp === null || pc.signalingState !== "have-local-offer") return;
        this.expected = signal.fingerprint;
        await pc.setRemoteDescription({ type: "answer", sdp: signal.sdp });
        await this.addEarly();
        break;
      case "offer": {
        if (signal.sdp === null) return;
        this.expected = signal.fingerprint;
        await pc.setRemoteDescription({ type: "offer", sdp: signal.sdp });
        const answer = await pc.createAnswer();
        await pc.setLocalDescription(answer);
        await callApi.act(id, { do: "again", sdp: answer.sdp ?? "", to_offer: signal.seq });
        await this.addEarly();
        break;
      }
      case "candidates":
        this.early.push(...signal.candidates);
        await this.addEarly();
        break;
      case "restart":
        await this.offerAgain();
        break;
    }
  }

  private async addEarly() {
    const { pc } = this;
    if (pc === null || pc.remoteDescription === null) return;
    for (const candidate of this.early.splice(0)) {
      // One that does not fit the description is of no use.
      await pc.addIceCandidate({ candidate, sdpMid: "0", sdpMLineIndex: 0 }).catch(() => undefined);
    }
  }

  // ---- the path ----

  private pathChanged() {
    const { pc } = this;
    if (pc === null || this.ended) return;
    const good = pc.iceConnectionState === "connected" || pc.iceConnectionState === "completed";
    if (good && pc.connectionState === "connected") {
      this.brokenSince = null;
      clearTimeout(this.mendTimer);
      this.mendTimer = undefined;
      const now = shown.get();
      const again = (now?.since ?? null) !== null;
      this.show({ connection: "connected", since: now?.since ?? Date.now() });
      if (!again) {
        performance.mark("kith:call-connected");
        this.sayMedia();
      }
      void this.measure();
    } else if (pc.getTransceivers().some((transceiver) => transceiver.sender.transport?.state === "failed")) {
      // There is a path, and at its end somebody without the key.
      toast.refusal(t.call.wrongKey);
      this.hangUp("wrong_key");
    } else if (pc.iceConnectionState === "disconnected" || pc.iceConnectionState === "failed" || pc.connectionState === "failed") {
      this.broken(pc.iceConnectionState === "disconnected" ? GAP_MS : 0);
    } else if ((shown.get()?.since ?? null) === null && this.outgoing && pc.iceConnectionState === "checking") {
      this.show({ connection: "connecting" });
    }
  }

  private broken(wait: number) {
    this.brokenSince ??= Date.now();
    if ((shown.get()?.since ?? null) !== null) this.show({ connection: "reconnecting" });
    if (this.mendTimer !== undefined) {
      if (wait > 0) return;
      clearTimeout(this.mendTimer);
    }
    this.mendTimer = setTimeout(() => void this.mend(), wait);
  }

  /** Looks for another path, again and again for a minute. */
  private async mend() {
    this.mendTimer = undefined;
    if (this.ended || this.brokenSince === null || this.id === null) return;
    if (Date.now() - this.brokenSince > MEND_MS_MAX) {
      this.hangUp("lost");
      return;
    }
    try {
      if (this.outgoing) await this.offerAgain();
      else await callApi.act(this.id, { do: "restart" });
    } catch {
      // Not now; the next turn may.
    }
    if (this.brokenSince !== null && !this.ended) this.mendTimer = setTimeout(() => void this.mend(), MEND_EVERY_MS);
  }

  /** A new offer: other addresses, the same keys and media. */
  private async offerAgain() {
    const { pc, id } = this;
    if (pc === null || id === null || this.ended) return;
    const servers = await callApi.servers(this.whom.peer);
    const iceServers = iceServersOf(servers);
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
    const offer = await pc.createOffer({ iceRestart: true });
    await pc.setLocalDescription(offer);
    await callApi.act(id, { do: "offer", sdp: offer.sdp ?? "" });
  }

  /** The browser is on a network again. */
  networkBack() {
    if (this.brokenSince !== null) this.broken(0);
  }

  private async measure() {
    const { pc } = this;
    if (pc === null || this.ended) return;
    const sample = sampleOf((await pc.getStats()) as unknown as ReadonlyMap<string, { id: string; type: string }>, performance.now());
    if (sample === null || this.ended) return;
    if (!this.checked && sample.fingerprint !== null && pc.connectionState === "connected") {
      // Who is on the line is who was spoken to in the group, or nobody.
      if (this.expected !== null && sample.fingerprint !== this.expected.toUpperCase()) {
        toast.refusal(t.call.wrongKey);
        this.hangUp("wrong_key");
        return;
      }
      this.checked = true;
    }
    if (this.before !== null) this.show({ quality: qualityOf(this.before, sample) });
    this.before = sample;
  }

  // ---- what the person does ----

  private sayMedia() {
    const now = shown.get();
    if (this.id === null || now === null) return;
    const media = { microphone: now.microphone, video: now.camera || now.screen, screen: now.screen };
    void callApi.act(this.id, { do: "media", media }).catch(() => undefined);
  }

  setMicrophone(on: boolean) {
    if (this.microphoneTrack !== null) this.microphoneTrack.enabled = on;
    this.show({ microphone: on });
    this.sayMedia();
  }

  async setCamera(on: boolean) {
    try {
      const track = on ? await openCamera() : null;
      this.cameraTrack?.stop();
      this.cameraTrack = track;
      this.show({ camera: on });
      if (on) this.stopScreen();
      await this.showLocal();
    } catch (cause) {
      toast.refusal(mediaProblem(cause));
    }
  }

  async setScreen(on: boolean) {
    if (!on) {
      this.stopScreen();
      await this.showLocal();
      return;
    }
    try {
      const track = await openScreen();
      this.stopScreen();
      this.screenTrack = track;
      track.addEventListener("ended", () => void this.setScreen(false));
      this.show({ screen: true });
      await this.showLocal();
    } catch (cause) {
      // Closing the browser's own choice is no fault.
      if (!(cause instanceof DOMException && cause.name === "NotAllowedError")) toast.refusal(mediaProblem(cause));
    }
  }

  private stopScreen() {
    this.screenTrack?.stop();
    this.screenTrack = null;
    this.show({ screen: false });
  }

  private async showLocal() {
    const track = this.screenTrack ?? this.cameraTrack;
    await this.video?.replaceTrack(track);
    this.show({ local: track === null ? null : new MediaStream([track]) });
    this.sayMedia();
  }

  /** Another microphone or camera was chosen. */
  async devicesChanged() {
    try {
      const microphone = await openMicrophone();
      microphone.enabled = shown.get()?.microphone ?? true;
      this.microphoneTrack?.stop();
      this.microphoneTrack = microphone;
      await this.audio?.replaceTrack(microphone);
      if (this.cameraTrack !== null) {
        const camera = await openCamera();
        this.cameraTrack.stop();
        this.cameraTrack = camera;
        await this.showLocal();
      }
    } catch (cause) {
      toast.refusal(mediaProblem(cause));
    }
  }

  /** The node says how the call stands. */
  called(call: Call) {
    if (call.phase === "over") this.end(call);
    else if (call.phase === "elsewhere") {
      toast.info(t.call.elsewhere);
      this.end();
    } else this.show({ call });
  }

  hangUp(reason: "hung_up" | "lost" | "wrong_key" = "hung_up") {
    const { id } = this;
    const met = (shown.get()?.since ?? null) !== null;
    this.end();
    if (reason === "lost") toast.refusal(met ? t.call.lost : t.call.noPath);
    if (id !== null) void callApi.hangUp(id, reason).catch((cause: unknown) => toast.refusal(sentence(cause)));
  }

  /** Lets go of everything. */
  end(call: Call | null = null) {
    if (this.ended) return;
    this.ended = true;
    for (const timer of this.timers) clearInterval(timer);
    clearTimeout(this.mendTimer);
    clearTimeout(this.outboxTimer);
    for (const track of [this.microphoneTrack, this.cameraTrack, this.screenTrack]) track?.stop();
    this.pc?.close();
    const taken = shown.get()?.call?.phase === "active";
    if (current === this) {
      current = null;
      shown.set(null);
    }
    if (call !== null) {
      const said = endSentence(call, clean(this.whom.name), taken);
      if (said !== null) (call.outcome === "failed" ? toast.refusal : toast.info)(said);
    }
  }
}

/** What became of a call, when that needs a word. `taken`: both sides knew that it was answered. */
function endSentence(call: Call, name: string, taken: boolean): string | null {
  if (call.reason === "wrong_key") return t.call.wrongKey;
  if (call.outcome === "answered") return call.reason === "lost" ? t.call.lost : null;
  if (call.outcome === "failed") return taken ? t.call.noPath : t.call.lost;
  if (!call.outgoing) return null;
  switch (call.outcome) {
    case "unanswered":
      return t.call.unanswered(name);
    case "declined":
      return t.call.declined(name);
    case "busy":
      return t.call.busy(name);
    default:
      return null;
  }
}

let current: Session | null = null;
/** Whether the call that this page made last began with a picture. */
let wantedVideo = false;

/** The call of somebody that rings here, as the node has it. */
async function ringing(peer: string): Promise<Call | undefined> {
  // Asked for: the event that tells of it may come later than this.
  const all = await callApi.list().catch(() => []);
  return all.find((call) => call.peer === peer && call.phase === "incoming");
}

async function run(make: () => Session, work: (session: Session) => Promise<void>) {
  current?.hangUp();
  const session = make();
  current = session;
  try {
    await work(session);
  } catch (cause) {
    if (current !== session) return;
    session.hangUp();
    // Whom one wants to call is calling: that is what was wanted.
    const theirs = cause instanceof ApiError && cause.code === "they_call" ? await ringing(session.whom.peer) : undefined;
    if (theirs === undefined) toast.refusal(mediaProblem(cause));
    else if (current === null) calling.answer(theirs, wantedVideo);
  }
}

export const calling = {
  dial(whom: Whom, video: boolean) {
    performance.clearMarks("kith:call-connected");
    wantedVideo = video;
    void run(
      () => new Session(whom, true, video),
      (session) => session.dial(),
    );
  },
  answer(call: Call, video: boolean) {
    void run(
      () => new Session({ conversation: call.conversation, peer: call.peer, name: call.name }, false, video),
      (session) => session.answer(call),
    );
  },
  decline(call: Call) {
    void callApi.hangUp(call.id).catch((cause: unknown) => toast.refusal(sentence(cause)));
  },
  hangUp: () => current?.hangUp(),
  setMicrophone: (on: boolean) => current?.setMicrophone(on),
  setCamera: (on: boolean) => void current?.setCamera(on),
  setScreen: (on: boolean) => void current?.setScreen(on),
  devicesChanged: () => void current?.devicesChanged(),
  expand(expanded: boolean) {
    const now = shown.get();
    if (now !== null) shown.set({ ...now, expanded });
  },
};

/** Events of the node that concern calls. */
export function onCallEvents(events: readonly NodeEvent[]) {
  for (const event of events) {
    if (!isCallEvent(event)) continue;
    if (event.type === "call") {
      const { call } = event;
      applyCall(call);
      if (current !== null && current.callId === call.id) current.called(call);
      // Both called at once: this page takes the call that stands.
      else if (call.auto && call.tab === tab && call.phase === "incoming") calling.answer(call, wantedVideo);
    } else if (current !== null && current.callId === event.call && event.tab === tab) {
      current.hear(event.signal);
    }
  }
}

/** Something may have been missed. */
export function resyncCalls() {
  void refreshCalls().catch(() => undefined);
  void current?.catchUp();
}

/** The node was locked, or the page leaves it. */
export function dropCalls() {
  current?.end();
  calls.set([]);
}

if (typeof window !== "undefined") {
  window.addEventListener("online", () => current?.networkBack());
  window.addEventListener("pagehide", () => {
    const id = current?.callId ?? null;
    if (id !== null) callApi.leave(id);
  });
}
