// Microphone, camera and loudspeaker: asking for them, remembering which.

import { Value } from "../../api/store";

export type DeviceKind = "audioinput" | "videoinput" | "audiooutput";
export type Chosen = Readonly<Record<DeviceKind, string>>;

function read(kind: DeviceKind): string {
  try {
    return localStorage.getItem(`kith.device.${kind}`) ?? "";
  } catch {
    return "";
  }
}

/** Which device is wanted; empty = the system's own choice. */
export const chosen = new Value<Chosen>({ audioinput: read("audioinput"), videoinput: read("videoinput"), audiooutput: read("audiooutput") });

export function choose(kind: DeviceKind, id: string) {
  try {
    localStorage.setItem(`kith.device.${kind}`, id);
  } catch {
    // A browser that remembers nothing still calls.
  }
  chosen.set({ ...chosen.get(), [kind]: id });
}

const wanted = (id: string): MediaTrackConstraints => (id === "" ? {} : { deviceId: { ideal: id } });

export async function openMicrophone(): Promise<MediaStreamTrack> {
  const audio = { ...wanted(chosen.get().audioinput), echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const [track] = stream.getAudioTracks();
  if (track === undefined) throw new DOMException("no microphone", "NotFoundError");
  return track;
}

export async function openCamera(): Promise<MediaStreamTrack> {
  const video = { ...wanted(chosen.get().videoinput), width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video });
  const [track] = stream.getVideoTracks();
  if (track === undefined) throw new DOMException("no camera", "NotFoundError");
  return track;
}

export async function openScreen(): Promise<MediaStreamTrack> {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: false });
  const [track] = stream.getVideoTracks();
  if (track === undefined) throw new DOMException("no screen", "NotFoundError");
  track.contentHint = "detail";
  return track;
}

export type DeviceInfo = { id: string; label: string };

/** The devices of a kind that the browser names. */
export async function listDevices(kind: DeviceKind): Promise<DeviceInfo[]> {
  const all = await navigator.mediaDevices.enumerateDevices();
  return all.filter((d) => d.kind === kind && d.deviceId !== "" && d.deviceId !== "default" && d.deviceId !== "communications").map((d) => ({ id: d.deviceId, label: d.label }));
}

/** Measures how loud a track is, from 0 to 1, until the returned function is called. */
export function watchLevel(track: MediaStreamTrack, heard: (level: number) => void): () => void {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const source = context.createMediaStreamSource(new MediaStream([track]));
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    heard(Math.min(1, loudness * 4));
  }, 100);
  return () => {
    clearInterval(timer);
    source.disconnect();
    void context.close();
  };
}
