// Which microphone, camera and loudspeaker: with a level and a picture, so
// that a person sees what others will.

import { useEffect, useRef, useState } from "react";
import { useValue } from "../../api/store";
import { t } from "../../i18n";
import { choose, chosen, listDevices, openCamera, openMicrophone, watchLevel, type DeviceInfo, type DeviceKind } from "../../lib/call/devices";
import { calling } from "../../lib/call/session";
import { Dialog } from "../../ui/dialog";
import { Select } from "../../ui/field";
import { Problem } from "../../ui/problem";

const kinds: readonly DeviceKind[] = ["audioinput", "videoinput", "audiooutput"];

/** The pickers with level meter and preview; asks for the devices while shown. */
export function DevicePickers({ inCall = false }: { inCall?: boolean }) {
  const now = useValue(chosen);
  const [devices, setDevices] = useState<Partial<Record<DeviceKind, DeviceInfo[]>>>({});
  const [level, setLevel] = useState(0);
  const [picture, setPicture] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const video = useRef<HTMLVideoElement>(null);

  useEffect(() => {
    let over = false;
    const tracks: MediaStreamTrack[] = [];
    let quiet = () => {};
    const list = async () => {
      const found = await Promise.all(kinds.map(async (kind) => [kind, await listDevices(kind)] as const));
      if (!over) setDevices(Object.fromEntries(found));
    };
    const open = async () => {
      try {
        const microphone = await openMicrophone();
        tracks.push(microphone);
        if (over) return microphone.stop();
        quiet = watchLevel(microphone, setLevel);
        setProblem(null);
      } catch {
        setProblem(t.call.noMicrophone);
      }
      try {
        const camera = await openCamera();
        tracks.push(camera);
        if (over) return camera.stop();
        setPicture(true);
        if (video.current !== null) video.current.srcObject = new MediaStream([camera]);
      } catch {
        setPicture(false);
      }
      await list();
    };
    void open();
    const changed = () => void list();
    navigator.mediaDevices.addEventListener("devicechange", changed);
    return () => {
      over = true;
      quiet();
      for (const track of tracks) track.stop();
      navigator.mediaDevices.removeEventListener("devicechange", changed);
    };
  }, [now]);

  return (
    <div className="flex flex-col gap-4">
      {problem === null ? null : <Problem text={problem} />}
      {kinds.map((kind) => {
        const found = devices[kind] ?? [];
        if (kind === "audiooutput" && found.length === 0) return null;
        return (
          <Select
            key={kind}
            label={t.call.kinds[kind]}
            value={found.some((d) => d.id === now[kind]) ? now[kind] : ""}
            onChange={(event) => {
              choose(kind, event.target.value);
              if (inCall && kind !== "audiooutput") calling.devicesChanged();
            }}
          >
            <option value="">{t.call.systemDevice}</option>
            {found.map((device, index) => (
              <option key={device.id} value={device.id}>
                {device.label === "" ? t.call.device(index + 1) : device.label}
              </option>
            ))}
          </Select>
        );
      })}
      <div>
        <p className="text-sm font-medium" id="call-level">
          {t.call.level}
        </p>
        <div role="meter" aria-labelledby="call-level" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(level * 100)} className="call-level">
          <span style={{ width: `${Math.round(level * 100)}%` }} />
        </div>
      </div>
      <video ref={video} autoPlay playsInline muted aria-label={t.call.ownPicture} className={`call-preview mirrored ${picture ? "" : "hidden"}`} />
      {picture ? null : <p className="text-sm text-soft">{t.call.noCamera}</p>}
    </div>
  );
}

export function DevicesDialog({ onClose, inCall = false }: { onClose: () => void; inCall?: boolean }) {
  return (
    <Dialog title={t.call.devices} open onClose={onClose}>
      <DevicePickers inCall={inCall} />
    </Dialog>
  );
}
