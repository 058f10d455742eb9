// A call to the own node, which sends sound and picture back: what works of a
// set-up, what does not, and why.

import { api } from "../../api/client";
import { callApi } from "../../api/calls";
import { t } from "../../i18n";
import { openCamera, openMicrophone, watchLevel } from "./devices";
import { iceServersOf } from "./session";

export type StepName = "microphone" | "camera" | "connection" | "sound" | "picture" | "relay";
export type Step = { name: StepName; state: "running" | "ok" | "bad" | "none"; text: string };

const GATHER_MS_MAX = 6_000;
const CONNECT_MS_MAX = 15_000;
const MEASURE_MS = 4_000;

function wait(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** Resolves once `ready` holds, or when the time is up. Says which. */
function holds(target: EventTarget, event: string, ready: () => boolean, ms: number): Promise<boolean> {
  return new Promise((done) => {
    const timer = setTimeout(() => finish(false), ms);
    const look = () => {
      if (ready()) finish(true);
    };
    const finish = (value: boolean) => {
      clearTimeout(timer);
      target.removeEventListener(event, look);
      done(value);
    };
    target.addEventListener(event, look);
    look();
  });
}

type Inbound = { kind: string; packets: number; frames: number; energy: number };

async function inbound(pc: RTCPeerConnection): Promise<Inbound[]> {
  const found: Inbound[] = [];
  for (const report of (await pc.getStats()).values() as Iterable<Record<string, unknown>>) {
    if (report["type"] !== "inbound-rtp") continue;
    const figure = (name: string) => (typeof report[name] === "number" ? report[name] : 0);
    found.push({ kind: String(report["kind"]), packets: figure("packetsReceived"), frames: figure("framesDecoded"), energy: figure("totalAudioEnergy") });
  }
  return found;
}

/** Runs the test; `told` gets the steps as they come. */
export async function testSetup(told: (steps: readonly Step[]) => void): Promise<void> {
  let steps: Step[] = [];
  const say = (name: StepName, state: Step["state"], text: string) => {
    steps = [...steps.filter((step) => step.name !== name), { name, state, text }];
    told(steps);
  };
  const tracks: MediaStreamTrack[] = [];
  let pc: RTCPeerConnection | null = null;
  const audio = document.createElement("audio");
  let loudest = 0;
  const meters: (() => void)[] = [];
  try {
    say("microphone", "running", t.call.test.microphone);
    try {
      const track = await openMicrophone();
      tracks.push(track);
      say("microphone", "ok", t.call.test.microphoneOk(track.label));
    } catch {
      say("microphone", "bad", t.call.noMicrophone);
    }
    say("camera", "running", t.call.test.camera);
    try {
      const track = await openCamera();
      tracks.push(track);
      say("camera", "ok", t.call.test.cameraOk(track.label));
    } catch {
      say("camera", "none", t.call.noCamera);
    }

    say("connection", "running", t.call.test.connection);
    const servers = iceServersOf(await callApi.servers(null));
    const own = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
    pc = own;
    const kinds = new Set<string>();
    own.addEventListener("icecandidate", ({ candidate }) => {
      const type = candidate?.type ?? null;
      if (type !== null) kinds.add(type);
    });
    const heard = new MediaStream();
    own.addEventListener("track", ({ track }) => {
      heard.addTrack(track);
      // What comes back is measured, not played: the person would hear themselves.
      audio.muted = true;
      audio.srcObject = heard;
      void audio.play().catch(() => undefined);
      // A muted element is not played, and so not measured by the browser.
      if (track.kind === "audio") {
        meters.push(
          watchLevel(track, (level) => {
            loudest = Math.max(loudest, level);
          }),
        );
      }
    });
    for (const kind of ["audio", "video"] as const) {
      own.addTransceiver(tracks.find((track) => track.kind === kind) ?? kind, { direction: "sendrecv" });
    }
    await own.setLocalDescription(await own.createOffer());
    await holds(own, "icegatheringstatechange", () => own.iceGatheringState === "complete", GATHER_MS_MAX);
    const { sdp } = await api.post<{ sdp: string }>("/call-test", { sdp: own.localDescription?.sdp ?? "" });
    const begin = performance.now();
    await own.setRemoteDescription({ type: "answer", sdp });
    if (!(await holds(own, "connectionstatechange", () => own.connectionState === "connected" || own.connectionState === "failed", CONNECT_MS_MAX)) || own.connectionState !== "connected") {
      say("connection", "bad", t.call.test.connectionBad);
      return;
    }
    say("connection", "ok", t.call.test.connectionOk(Math.round(performance.now() - begin)));

    if (servers.length === 0) say("relay", "none", t.call.test.noRelay);
    else if (kinds.has("relay")) say("relay", "ok", t.call.test.relayOk);
    else say("relay", "bad", t.call.test.relayBad);

    for (const name of ["sound", "picture"] as const) say(name, "running", t.call.test[name]);
    await wait(MEASURE_MS);
    const found = await inbound(own);
    const sound = found.find((r) => r.kind === "audio");
    const picture = found.find((r) => r.kind === "video");
    if (!tracks.some((track) => track.kind === "audio")) say("sound", "none", t.call.test.soundNone);
    else if (sound === undefined || sound.packets === 0) say("sound", "bad", t.call.test.soundBad);
    else if (sound.energy < 1e-6 && loudest < 0.002) say("sound", "bad", t.call.test.soundSilent);
    else say("sound", "ok", t.call.test.soundOk);
    if (!tracks.some((track) => track.kind === "video")) say("picture", "none", t.call.test.pictureNone);
    else if (picture === undefined || picture.frames === 0) say("picture", "bad", t.call.test.pictureBad);
    else say("picture", "ok", t.call.test.pictureOk(Math.round(picture.frames / (MEASURE_MS / 1000))));
  } finally {
    for (const stop of meters) stop();
    for (const track of tracks) track.stop();
    audio.srcObject = null;
    pc?.close();
  }
}
