// Settings: one page with sections; the address may name one of them.

import { useEffect } from "react";
import { useMe, useSettings } from "../../api/queries";
import { t } from "../../i18n";
import { Section, Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { Page } from "../page";
import { About } from "./about";
import { Appearance, Notifications } from "./appearance";
import { CallsSection } from "./calls";
import { NetworkSection } from "./network";
import { Privacy } from "./privacy";
import { Profile } from "./profile";
import { StorageSection } from "./storage";
import { ChangePassphrase, SessionButtons } from "./security";

export function Settings({ section }: { section: string | null }) {
  const me = useMe().data;
  const settings = useSettings();

  // Once, when everything above has its height: later changes leave the focus.
  const ready = me !== undefined && settings.data !== undefined;
  useEffect(() => {
    if (section === null || !ready) return;
    const heading = document.getElementById(`settings-${section}`);
    heading?.scrollIntoView({ block: "start" });
    heading?.focus({ preventScroll: true });
  }, [section, ready]);

  return (
    <Page title={t.settings.title}>
      <div className="flex flex-col gap-10">
        <Section title={t.settings.profile} id="settings-profile">
          {me === undefined ? <Skeleton rows={2} /> : <Profile key={`${me.name}/${me.about}`} me={me} />}
        </Section>
        <Section title={t.settings.privacy} id="settings-privacy">
          <Refusal error={settings.error} />
          {settings.data === undefined ? <Skeleton rows={3} /> : <Privacy settings={settings.data} />}
        </Section>
        <Section title={t.call.title} id="settings-calls">
          <CallsSection />
        </Section>
        <Section title={t.storage.title} id="settings-storage">
          <StorageSection />
        </Section>
        <Section title={t.settings.network} id="settings-network">
          <NetworkSection />
        </Section>
        <Section title={t.settings.security} id="settings-security">
          <SessionButtons />
          <hr className="my-2 border-line" />
          <ChangePassphrase />
        </Section>
        <Section title={t.settings.appearance} id="settings-appearance">
          <Appearance />
          <Notifications />
        </Section>
        <Section title={t.settings.aboutKith} id="settings-about">
          <About me={me} />
        </Section>
      </div>
    </Page>
  );
}
