// A voice message: its waveform, and playing it from any place.

import { useEffect, useRef, useState, type ReactNode } from "react";
import { contentUrl } from "../../api/files";
import type { NodeFile } from "../../api/types";
import { t } from "../../i18n";
import { length } from "../../lib/size";
import { IconButton } from "../../ui/button";
import { toast } from "../../ui/toasts";

export function Voice({ file, tab, controls, status }: { file: NodeFile; tab: number; controls: ReactNode; status: ReactNode }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [playing, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const total = file.duration_ms / 1000;

  useEffect(() => {
    const element = audio.current;
    return () => element?.pause();
  }, []);

  const toggle = () => {
    const element = audio.current;
    if (element === null) return;
    if (playing) {
      element.pause();
      return;
    }
    element.play().catch(() => toast.refusal(t.files.cannotPlay));
  };
  const seek = (part: number) => {
    const element = audio.current;
    if (element === null || total <= 0) return;
    element.currentTime = part * total;
    setAt(part * total);
  };
  const share = total > 0 ? Math.min(1, at / total) : 0;
  const wave = file.waveform.length > 0 ? file.waveform : [128];
  return (
    <div className="flex w-72 max-w-full flex-col gap-1">
      <div className="flex items-center gap-2">
        <IconButton
          icon={playing ? "pause" : "play"}
          label={playing ? t.files.pauseVoice : t.files.playVoice}
          excludeFromTabOrder={tab < 0}
          className="voice-play"
          onPress={toggle}
        />
        <input
          type="range"
          aria-label={t.files.place}
          aria-valuetext={length(at * 1000)}
          tabIndex={tab}
          min={0}
          max={1000}
          value={Math.round(share * 1000)}
          className="voice-seek"
          style={{ backgroundImage: bars(wave, share) }}
          onChange={(event) => seek(Number(event.target.value) / 1000)}
        />
        <span className="text-xs text-soft tabular-nums">{length(playing || at > 0 ? at * 1000 : file.duration_ms)}</span>
      </div>
      {file.state === "here" ? null : (
        <div className="flex items-center gap-1">
          <span className="flex min-w-0 flex-1 flex-col">{status}</span>
          {controls}
        </div>
      )}
      {/* Nobody but its speaker could caption it. */}
      {/* oxlint-disable-next-line jsx-a11y/media-has-caption */}
      <audio
        ref={audio}
        preload="none"
        src={contentUrl(file.id)}
        onPlay={() => setPlaying(true)}
        onPause={() => setPlaying(false)}
        onEnded={() => {
          setPlaying(false);
          setAt(0);
        }}
        onTimeUpdate={(event) => setAt(event.currentTarget.currentTime)}
      />
    </div>
  );
}

/** The waveform as a picture: numbers of ours only, so nothing can get out of it. */
function bars(wave: readonly number[], share: number): string {
  const rects = wave.map((value, index) => {
    const height = 2 + (Math.min(255, Math.max(0, value)) / 255) * 22;
    const done = (index + 0.5) / wave.length <= share;
    return `<rect x="${index * 4}" y="${(26 - height) / 2}" width="2.4" height="${height}" rx="1.2" fill="%237a86ff" fill-opacity="${done ? 1 : 0.4}"/>`;
  });
  return `url('data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wave.length * 4} 26" preserveAspectRatio="none">${rects.join("")}</svg>')`;
}
