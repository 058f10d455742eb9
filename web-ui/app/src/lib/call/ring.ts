// The sounds of a call, made here: nothing is fetched. Of several pages that
// are open only one rings aloud.

type Tone = { hz: readonly number[]; on: number; off: number };

/** Two soft notes, a pause. */
const incoming: Tone = { hz: [523.25, 659.25], on: 0.9, off: 1.6 };
const outgoing: Tone = { hz: [425], on: 1, off: 3 };

/** Plays a tone again and again until the returned function is called. */
function play(context: AudioContext, tone: Tone): () => void {
  const gain = context.createGain();
  gain.connect(context.destination);
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const once = () => {
    if (stopped) return;
    const start = context.currentTime + 0.02;
    tone.hz.forEach((hz, index) => {
      const part = tone.on / tone.hz.length;
      const from = start + index * part;
      const note = context.createOscillator();
      const shape = context.createGain();
      note.frequency.value = hz;
      note.type = "sine";
      shape.gain.setValueAtTime(0, from);
      shape.gain.linearRampToValueAtTime(0.16, from + 0.04);
      shape.gain.setTargetAtTime(0, from + part * 0.6, part * 0.15);
      note.connect(shape).connect(gain);
      note.start(from);
      note.stop(from + part + 0.3);
    });
    timer = setTimeout(once, (tone.on + tone.off) * 1000);
  };
  once();
  return () => {
    stopped = true;
    clearTimeout(timer);
    gain.disconnect();
  };
}

function sound(tone: Tone, alone: boolean): () => void {
  const context = new AudioContext();
  const over = new AbortController();
  const begin = async () => {
    // Without a touch of the person a browser may keep the page silent.
    await context.resume();
    if (over.signal.aborted) return;
    const silence = play(context, tone);
    await new Promise<void>((done) => over.signal.addEventListener("abort", () => done(), { once: true }));
    silence();
  };
  const run = alone && "locks" in navigator ? navigator.locks.request("kith-ring", { signal: over.signal }, begin) : begin();
  Promise.resolve(run)
    .catch(() => undefined)
    .finally(() => void context.close().catch(() => undefined));
  return () => over.abort();
}

export const ring = () => sound(incoming, true);
export const ringBack = () => sound(outgoing, false);
