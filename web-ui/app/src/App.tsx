// The gate: what to show follows from the session. Below it, the app proper.

import { Component, useState, type ReactNode } from "react";
import { ApiError, sentence } from "./api/client";
import { useSession } from "./api/queries";
import { t } from "./i18n";
import { Button } from "./ui/button";
import { Skeleton } from "./ui/panel";
import { Toasts } from "./ui/toasts";
import { Card } from "./views/card";
import { Onboarding } from "./views/onboarding/onboarding";
import { Shell } from "./views/shell";
import { Unlock } from "./views/unlock/unlock";

class Boundary extends Component<{ children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <Card title={t.error.crashed}>
        <p>{t.error.crashedHint}</p>
        <Button look="primary" onPress={() => location.reload()}>
          {t.error.reload}
        </Button>
      </Card>
    );
  }
}

function Gate() {
  const session = useSession();
  // The last step of the onboarding happens in an unlocked node.
  const [onboarding, setOnboarding] = useState(false);

  if (session.error !== null && session.data === undefined) {
    const offline = session.error instanceof ApiError && session.error.offline;
    return (
      <Card title={offline ? t.gate.unreachable : t.gate.refused}>
        <p>{offline ? t.gate.unreachableBody : sentence(session.error)}</p>
        <Button onPress={() => void session.refetch()}>{t.gate.retry}</Button>
      </Card>
    );
  }
  if (session.data === undefined) {
    return (
      <main>
        <Skeleton />
      </main>
    );
  }
  switch (session.data.state) {
    case "signed_out":
      return (
        <Card title={t.gate.signedOut}>
          <p>{t.gate.signedOutBody}</p>
          <p>
            {t.gate.signedOutHow} <kbd className="key">{t.gate.signedOutCommand}</kbd> {t.gate.signedOutThen}
          </p>
          <Button onPress={() => void session.refetch()}>{t.gate.retry}</Button>
        </Card>
      );
    case "fresh":
      return <Onboarding onMade={() => setOnboarding(true)} onDone={() => setOnboarding(false)} made={false} />;
    case "locked":
      return <Unlock name={session.data.name ?? null} />;
    case "unlocked":
      return onboarding ? <Onboarding onMade={() => {}} onDone={() => setOnboarding(false)} made /> : <Shell />;
  }
}

export function App() {
  return (
    <Boundary>
      <Gate />
      <Toasts />
    </Boundary>
  );
}
