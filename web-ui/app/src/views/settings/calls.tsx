// Calls: which devices, and a test that a person can make alone.

import { Suspense, lazy, useState } from "react";
import { useValue } from "../../api/store";
import { sentence } from "../../api/client";
import { t } from "../../i18n";
import { shown } from "../../lib/call/session";
import { testSetup, type Step } from "../../lib/call/test";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Skeleton } from "../../ui/panel";
import { Problem } from "../../ui/problem";

const DevicePickers = lazy(() => import("../call/devices-dialog").then((m) => ({ default: m.DevicePickers })));

const icons = { running: "more", ok: "check", bad: "alert", none: "info" } as const;

export function CallsSection() {
  const [devices, setDevices] = useState(false);
  const [steps, setSteps] = useState<readonly Step[]>([]);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const inCall = useValue(shown) !== null;
  const run = () => {
    setBusy(true);
    setProblem(null);
    setSteps([]);
    setDevices(false);
    testSetup(setSteps)
      .catch((cause: unknown) => setProblem(sentence(cause)))
      .finally(() => setBusy(false));
  };
  return (
    <div className="flex flex-col gap-4">
      <p className="text-sm text-soft">{t.call.test.hint}</p>
      <div className="flex flex-wrap gap-2">
        <Button icon="devices" aria-expanded={devices} onPress={() => setDevices(!devices)}>
          {t.call.devices}
        </Button>
        <Button look="primary" icon="phone" busy={busy} isDisabled={inCall} onPress={() => (busy ? undefined : run())}>
          {t.call.test.run}
        </Button>
      </div>
      {problem === null ? null : <Problem text={problem} />}
      <ul aria-label={t.call.test.results} aria-live="polite" className="flex flex-col gap-2 text-sm empty:hidden">
        {steps.map((step) => (
          <li key={step.name} className={`flex items-start gap-2 ${step.state === "bad" ? "text-bad" : step.state === "ok" ? "text-accent-text" : "text-soft"}`} data-step={step.name} data-state={step.state}>
            <Icon name={icons[step.state]} size={16} className="mt-0.5 shrink-0" />
            <span>{step.text}</span>
          </li>
        ))}
      </ul>
      {devices ? (
        <Suspense fallback={<Skeleton rows={3} />}>
          <DevicePickers />
        </Suspense>
      ) : null}
    </div>
  );
}
