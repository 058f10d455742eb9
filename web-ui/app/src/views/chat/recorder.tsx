// Recording a voice message: from the microphone to a file, on this page only.

import { useEffect, useRef, useState } from "react";
import type { Look } from "../../api/types";
import { t } from "../../i18n";
import { noLook, waveformOf } from "../../lib/look";
import { length } from "../../lib/size";
import { IconButton } from "../../ui/button";
import { toast } from "../../ui/toasts";

/** Longer ones are cut. */
const RECORDING_MS_MAX = 60 * 60_000;
const LEVEL_EVERY_MS = 100;
const types = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

type Props = { onDone: (file: File, look: Look) => void; onEnd: () => void };

export function Recorder({ onDone, onEnd }: Props) {
  const [ms, setMs] = useState(0);
  const stop = useRef<(keep: boolean) => void>(() => {});
  const done = useRef({ onDone, onEnd });
  useEffect(() => {
    done.current = { onDone, onEnd };
  });

  useEffect(() => {
    let ended = false;
    let clean = () => {};
    const begin = async () => {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const type = types.find((wanted) => MediaRecorder.isTypeSupported(wanted)) ?? "";
      const recorder = new MediaRecorder(stream, type === "" ? {} : { mimeType: type, audioBitsPerSecond: 32_000 });
      const context = new AudioContext();
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      const levels: number[] = [];
      const parts: Blob[] = [];
      const start = performance.now();
      let keep = false;
      const timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        levels.push(Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length));
        const passed = performance.now() - start;
        setMs(passed);
        if (passed > RECORDING_MS_MAX) stop.current(true);
      }, LEVEL_EVERY_MS);
      recorder.ondataavailable = (event) => parts.push(event.data);
      recorder.onstop = () => {
        clean();
        const kind = recorder.mimeType.split(";")[0] ?? "audio/webm";
        const ending = kind === "audio/mp4" ? "m4a" : kind === "audio/ogg" ? "ogg" : "webm";
        const duration = Math.round(performance.now() - start);
        if (keep && parts.length > 0) {
          const file = new File(parts, `${t.files.voiceName}.${ending}`, { type: kind });
          done.current.onDone(file, { ...noLook, duration_ms: duration, waveform: waveformOf(levels), voice: true });
        }
        done.current.onEnd();
      };
      clean = () => {
        clearInterval(timer);
        for (const track of stream.getTracks()) track.stop();
        void context.close();
      };
      stop.current = (wanted) => {
        keep = wanted;
        if (recorder.state !== "inactive") recorder.stop();
      };
      recorder.start(1_000);
      if (ended) stop.current(false);
    };
    begin().catch(() => {
      clean();
      toast.refusal(t.files.noMicrophone);
      done.current.onEnd();
    });
    return () => {
      ended = true;
      stop.current(false);
    };
  }, []);

  return (
    <div role="group" aria-label={t.files.recording} className="flex items-center gap-3 p-2 pl-4">
      <span aria-hidden="true" className="recording-dot" />
      <span className="flex-1 text-sm tabular-nums" role="timer" aria-label={t.files.recording}>
        {length(ms)}
      </span>
      <IconButton icon="trash" label={t.files.discardRecording} onPress={() => stop.current(false)} />
      <IconButton icon="send" label={t.files.sendRecording} className="send" onPress={() => stop.current(true)} />
    </div>
  );
}
