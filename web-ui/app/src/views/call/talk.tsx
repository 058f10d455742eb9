// The call that this page carries: pictures, what is being sent, how good the
// path is. Large, or as a small card beside the conversations.

import { useEffect, useRef, useState } from "react";
import { ToggleButton } from "react-aria-components";
import { useValue } from "../../api/store";
import { t } from "../../i18n";
import { chosen } from "../../lib/call/devices";
import { gradeOf } from "../../lib/call/quality";
import { calling, type Shown } from "../../lib/call/session";
import { length } from "../../lib/size";
import { clean } from "../../lib/text";
import { Avatar } from "../../ui/avatar";
import { IconButton } from "../../ui/button";
import { Icon, type IconName } from "../../ui/icon";
import { DevicesDialog } from "./devices-dialog";

function Picture({ stream, label, mirrored = false, className }: { stream: MediaStream | null; label: string; mirrored?: boolean; className: string }) {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (ref.current !== null && ref.current.srcObject !== stream) ref.current.srcObject = stream;
  }, [stream]);
  return <video ref={ref} autoPlay playsInline muted aria-label={label} className={`${className} ${mirrored ? "mirrored" : ""}`} />;
}

/** The other side's voice, on the loudspeaker that was chosen. */
function Voice({ stream }: { stream: MediaStream }) {
  const ref = useRef<HTMLAudioElement>(null);
  const speaker = useValue(chosen).audiooutput;
  useEffect(() => {
    const audio = ref.current;
    if (audio === null) return;
    audio.srcObject = stream;
    if ("setSinkId" in audio) void audio.setSinkId(speaker).catch(() => undefined);
  }, [stream, speaker]);
  // oxlint-disable-next-line jsx-a11y/media-has-caption
  return <audio ref={ref} autoPlay className="hidden" />;
}

function useSeconds(since: number | null): string {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (since === null) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [since]);
  return since === null ? "" : length(Math.max(0, now - since));
}

/** How it stands, in words. */
export function standing(talk: Shown): string {
  switch (talk.connection) {
    case "preparing":
      return t.call.preparing;
    case "waiting":
      return talk.call?.phase === "ringing" ? t.call.ringing : talk.call?.phase === "active" ? t.call.connecting : t.call.calling;
    case "connecting":
      return t.call.connecting;
    case "connected":
      return t.call.connected;
    case "reconnecting":
      return t.call.reconnecting;
  }
}

function QualityLine({ talk }: { talk: Shown }) {
  const { quality } = talk;
  if (quality === null || talk.connection !== "connected") return null;
  const grade = gradeOf(quality);
  return (
    <p className={`call-quality call-${grade}`} data-path={quality.path}>
      <Icon name={grade === "good" ? "check" : "alert"} size={14} />
      <span>{t.call.quality(t.call.grade[grade], t.call.path[quality.path], quality.rtt === null ? null : Math.round(quality.rtt), quality.loss, quality.down)}</span>
    </p>
  );
}

type ToggleProps = { name: string; on: boolean; icon: IconName; off: IconName; labels: readonly [string, string]; onChange: (on: boolean) => void };

function Toggle({ name, on, icon, off, labels, onChange }: ToggleProps) {
  return (
    <ToggleButton isSelected={on} onChange={onChange} aria-label={name} className="call-button">
      <Icon name={on ? icon : off} size={22} />
      <span className="call-word">{on ? labels[0] : labels[1]}</span>
    </ToggleButton>
  );
}

export function Talk({ talk }: { talk: Shown }) {
  const name = clean(talk.name);
  const [devices, setDevices] = useState(false);
  const time = useSeconds(talk.since);
  const root = useRef<HTMLElement>(null);
  const stage = useRef<HTMLDivElement>(null);
  const { expanded } = talk;
  const their = talk.call?.their;
  const picture = (their?.video ?? false) && talk.since !== null;

  useEffect(() => {
    if (expanded) root.current?.focus({ preventScroll: true });
  }, [expanded]);
  useEffect(
    () => () => {
      // The focus goes back to what lies below.
      document.getElementById("main")?.focus({ preventScroll: true });
    },
    [],
  );

  const keys = (event: React.KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || devices) return;
    const key = event.key.toLowerCase();
    if (key === "m") calling.setMicrophone(!talk.microphone);
    else if (key === "v") calling.setCamera(!talk.camera);
    else if (event.key === "Escape") calling.expand(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const inPicture = async () => {
    const video = stage.current?.querySelector<HTMLVideoElement>("video.call-remote");
    if (video === undefined || video === null || !document.pictureInPictureEnabled) return;
    if (document.pictureInPictureElement === video) await document.exitPictureInPicture();
    else await video.requestPictureInPicture().catch(() => undefined);
  };

  return (
    <section ref={root} tabIndex={-1} aria-label={t.call.with(name)} className={`call ${expanded ? "call-large" : "call-small"}`} onKeyDown={keys} data-connection={talk.connection}>
      <Voice stream={talk.remote} />
      <header className="call-head">
        <div className="min-w-0 flex-1">
          <h2 className="truncate text-base font-semibold">
            <bdi>{name}</bdi>
          </h2>
          <p className="text-sm text-soft">
            <span role="status">{standing(talk)}</span>
            {time === "" ? null : (
              <span className="tabular-nums" aria-hidden="true">
                {" · "}
                {time}
              </span>
            )}
          </p>
        </div>
        {expanded ? <IconButton icon="devices" label={t.call.devices} onPress={() => setDevices(true)} /> : null}
        {expanded && picture && document.pictureInPictureEnabled ? <IconButton icon="pip" label={t.call.pip} onPress={() => void inPicture()} /> : null}
        <IconButton icon={expanded ? "shrink" : "grow"} label={expanded ? t.call.shrink : t.call.grow} onPress={() => calling.expand(!expanded)} />
      </header>
      <div ref={stage} className="call-stage">
        <Picture stream={talk.remote} label={their?.screen === true ? t.call.theirScreen(name) : t.call.theirPicture(name)} className={`call-remote ${picture ? "" : "call-off"}`} />
        {picture ? null : (
          <div className="call-face">
            <Avatar id={talk.peer} name={talk.name} size={expanded ? "l" : "m"} />
          </div>
        )}
        {talk.local === null ? null : <Picture stream={talk.local} label={talk.screen ? t.call.ownScreen : t.call.ownPicture} mirrored={!talk.screen} className="call-local" />}
        {talk.since !== null && their?.microphone === false ? (
          <p className="call-note">
            <Icon name="micOff" size={16} /> {t.call.theyAreMuted(name)}
          </p>
        ) : null}
        {talk.connection === "reconnecting" ? (
          <p className="call-note call-trouble" role="alert">
            <Icon name="wifiOff" size={16} /> {t.call.reconnectingLong}
          </p>
        ) : null}
      </div>
      {expanded ? <QualityLine talk={talk} /> : null}
      <div className="call-tools" role="toolbar" aria-label={t.call.tools}>
        <Toggle name={t.call.microphone} on={talk.microphone} icon="mic" off="micOff" labels={[t.call.microphone, t.call.microphoneOff]} onChange={calling.setMicrophone} />
        <Toggle name={t.call.camera} on={talk.camera} icon="camera" off="cameraOff" labels={[t.call.camera, t.call.cameraOff]} onChange={calling.setCamera} />
        {expanded && "getDisplayMedia" in navigator.mediaDevices ? (
          <Toggle name={t.call.screenOff} on={talk.screen} icon="screen" off="screen" labels={[t.call.screen, t.call.screenOff]} onChange={calling.setScreen} />
        ) : null}
        <button type="button" className="call-button call-hang-up" aria-label={t.call.hangUp} onClick={() => calling.hangUp()}>
          <Icon name="hangUp" size={22} />
          <span className="call-word">{t.call.hangUp}</span>
        </button>
      </div>
      {devices ? <DevicesDialog onClose={() => setDevices(false)} inCall /> : null}
    </section>
  );
}
