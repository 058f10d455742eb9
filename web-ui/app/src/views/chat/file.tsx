// A file in a conversation: a picture, a film, a recording, or a card with what
// can be done with it. Nothing of it is opened as a page, ever.

import { useState } from "react";
import { Button as AriaButton } from "react-aria-components";
import { useAction } from "../../api/action";
import { api } from "../../api/client";
import { contentUrl, useProgress, viewed } from "../../api/files";
import type { NodeFile } from "../../api/types";
import { t } from "../../i18n";
import { until } from "../../i18n/format";
import { useNow } from "../../lib/hooks";
import { length, size, timeLeft } from "../../lib/size";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { kindOf } from "./kind";
import { Voice } from "./voice";

/** Longest side of a picture in the timeline, in pixels. */
const SHOWN_PIXELS = 360;

function box(file: NodeFile): { width: number; aspectRatio: string } | null {
  if (file.width <= 0 || file.height <= 0) return null;
  const scale = Math.min(1, SHOWN_PIXELS / Math.max(file.width, file.height));
  return { width: Math.max(96, Math.round(file.width * scale)), aspectRatio: `${file.width} / ${file.height}` };
}

function useActions(file: NodeFile) {
  return {
    fetch: useAction(() => api.post(`/files/${file.id}/fetch`)),
    pause: useAction(() => api.post(`/files/${file.id}/pause`)),
    free: useAction(() => api.delete(`/files/${file.id}`)),
  };
}

function Status({ file }: { file: NodeFile }) {
  const now = useNow();
  const progress = useProgress(file.id);
  if (file.state === "fetching" || file.state === "paused") {
    const have = Math.min(progress?.have ?? 0, file.size);
    const parts = [t.files.of(size(have), size(file.size))];
    if (file.state === "paused") parts.push(file.problem ?? t.files.paused);
    else if (progress !== null && progress.sources === 0) parts.push(t.files.nobody);
    else if (progress !== null && progress.rate > 0) {
      parts.push(t.files.rate(size(progress.rate)));
      parts.push(timeLeft(file.size - have, progress.rate));
    }
    return (
      <>
        <progress className="bar" aria-label={t.files.progress(file.name)} max={Math.max(1, file.size)} value={have} />
        <span className="text-xs text-soft tabular-nums">{parts.filter((part) => part !== "").join(" · ")}</span>
      </>
    );
  }
  // On its way to relays, for who is away.
  if (file.own && file.at_relays?.kind === "waiting" && progress !== null && progress.have < file.size) {
    const parts = [t.files.toRelays(size(progress.have), size(file.size)), t.files.rate(size(progress.rate)), timeLeft(file.size - progress.have, progress.rate)];
    return (
      <>
        <progress className="bar" aria-label={t.files.progress(file.name)} max={Math.max(1, file.size)} value={progress.have} />
        <span className="text-xs text-soft tabular-nums">{parts.filter((part) => part !== "").join(" · ")}</span>
      </>
    );
  }
  const parts = [size(file.size)];
  if (file.state === "gone") parts.push(t.files.gone);
  if (file.own && file.at_relays !== null) {
    if (file.at_relays.kind === "paused") parts.push(t.files.heldBack);
    else if (file.at_relays.kind === "too_large") parts.push(t.files.tooLarge);
    else if (file.at_relays.kind === "until") parts.push(t.files.keptUntil(until(file.at_relays.until, now)));
  }
  return <span className="text-xs text-soft">{parts.join(" · ")}</span>;
}

function Controls({ file, tab }: { file: NodeFile; tab: number }) {
  const { fetch, pause, free } = useActions(file);
  const progress = useProgress(file.id);
  const skip = tab < 0;
  switch (file.state) {
    case "here":
      return (
        <>
        {!file.own || file.at_relays === null ? null : file.at_relays.kind === "paused" ? (
          <IconButton icon="play" label={t.files.goOn(file.name)} excludeFromTabOrder={skip} onPress={() => fetch.mutate()} />
        ) : file.at_relays.kind === "waiting" && progress !== null ? (
          <IconButton icon="pause" label={t.files.hold(file.name)} excludeFromTabOrder={skip} onPress={() => pause.mutate()} />
        ) : null}
        <a className="icon-button" href={contentUrl(file.id, true)} download={file.name} aria-label={t.files.save(file.name)} tabIndex={tab}>
          <Icon name="down" />
        </a>
        </>
      );
    case "fetching":
      return (
        <>
          <IconButton icon="pause" label={t.files.pause(file.name)} excludeFromTabOrder={skip} onPress={() => pause.mutate()} />
          <IconButton icon="x" label={t.files.cancel(file.name)} excludeFromTabOrder={skip} onPress={() => free.mutate()} />
        </>
      );
    case "paused":
      return (
        <>
          <IconButton icon="play" label={t.files.resume(file.name)} excludeFromTabOrder={skip} onPress={() => fetch.mutate()} />
          <IconButton icon="x" label={t.files.cancel(file.name)} excludeFromTabOrder={skip} onPress={() => free.mutate()} />
        </>
      );
    default:
      return <IconButton icon="down" label={t.files.fetch(file.name)} excludeFromTabOrder={skip} onPress={() => fetch.mutate()} />;
  }
}

function Card({ file, tab }: { file: NodeFile; tab: number }) {
  return (
    <div className="file-card">
      <span className="file-icon">
        <Icon name={kindOf(file) === "audio" ? "sound" : kindOf(file) === "video" ? "film" : "file"} size={22} />
      </span>
      <span className="flex min-w-0 flex-1 flex-col gap-0.5">
        <bdi className="truncate text-sm font-medium" title={file.name}>
          {file.name}
        </bdi>
        <Status file={file} />
      </span>
      <Controls file={file} tab={tab} />
    </div>
  );
}

type Placed = { file: NodeFile; conversation: string; tab: number };

function Picture({ file, conversation, tab }: Placed) {
  const [broken, setBroken] = useState(false);
  const place = box(file);
  const here = file.state === "here";
  if (broken || (!here && file.preview === null)) return <Card file={file} tab={tab} />;
  if (!here) {
    return (
      <div className="flex max-w-full flex-col gap-1">
        <img src={file.preview ?? undefined} alt={t.files.preview(file.name)} className="picture veiled" style={place ?? undefined} />
        <Card file={file} tab={tab} />
      </div>
    );
  }
  return (
    <AriaButton className="picture-button" excludeFromTabOrder={tab < 0} aria-label={t.files.open(file.name)} onPress={() => viewed.set({ conversation, file })}>
      <img
        src={contentUrl(file.id)}
        alt={file.name}
        loading="lazy"
        decoding="async"
        className="picture"
        style={{ ...(place ?? { maxWidth: SHOWN_PIXELS }), ...(file.preview === null ? {} : { backgroundImage: `url("${file.preview}")` }) }}
        onError={() => setBroken(true)}
      />
    </AriaButton>
  );
}

function Film({ file, tab }: { file: NodeFile; tab: number }) {
  const [playing, setPlaying] = useState(false);
  const { fetch } = useActions(file);
  const [broken, setBroken] = useState(false);
  const place = box(file) ?? { width: 320, aspectRatio: "16 / 9" };
  const shown = !broken && (playing || (file.state === "here" && file.own));
  return (
    <div className="flex max-w-full flex-col gap-1">
      {broken ? null : shown ? (
        // Nobody but its maker could caption it.
        // oxlint-disable-next-line jsx-a11y/media-has-caption
        <video
          controls
          autoPlay={playing}
          preload="metadata"
          aria-label={file.name}
          tabIndex={tab}
          className="picture bg-black"
          style={place}
          poster={file.preview ?? undefined}
          src={contentUrl(file.id)}
          onError={() => setBroken(true)}
        />
      ) : (
        <AriaButton className="picture-button film" style={place} excludeFromTabOrder={tab < 0} aria-label={t.files.play(file.name)} onPress={() => {
            if (file.state === "paused") fetch.mutate();
            setPlaying(true);
          }}
        >
          {file.preview === null ? null : <img src={file.preview} alt="" className="picture" />}
          <span className="film-play">
            <Icon name="play" size={28} />
          </span>
          {file.duration_ms > 0 ? <span className="film-length">{length(file.duration_ms)}</span> : null}
        </AriaButton>
      )}
      <Card file={file} tab={tab} />
    </div>
  );
}

function Sound({ file, tab }: { file: NodeFile; tab: number }) {
  const { fetch } = useActions(file);
  return (
    // Nobody but its maker could caption it.
    // oxlint-disable-next-line jsx-a11y/media-has-caption
    <audio
      controls
      preload="none"
      aria-label={file.name}
      tabIndex={tab}
      src={contentUrl(file.id)}
      className="w-72 max-w-full"
      onPlay={() => {
        if (file.state === "paused") fetch.mutate();
      }}
    />
  );
}

/** What a message with a file shows of it. */
export function FileBody({ file, conversation, tab }: Placed) {
  if (file.voice && kindOf(file) === "audio") return <Voice file={file} tab={tab} controls={<Controls file={file} tab={tab} />} status={<Status file={file} />} />;
  switch (kindOf(file)) {
    case "image":
      return <Picture file={file} conversation={conversation} tab={tab} />;
    case "video":
      return <Film file={file} tab={tab} />;
    case "audio":
      return (
        <div className="flex max-w-full flex-col gap-1">
          <Sound file={file} tab={tab} />
          <Card file={file} tab={tab} />
        </div>
      );
    default:
      return <Card file={file} tab={tab} />;
  }
}
