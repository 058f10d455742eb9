// Settings: one page with sections; the address may name one of them.

import { useEffect, useRef, useState, type FormEvent } from "react";
import { api, sentence } from "../api/client";
import { client, keys } from "../api/cache";
import { clearOutbox } from "../api/outbox";
import { useAction, useHealth, useMe, useSettings } from "../api/queries";
import { useValue } from "../api/store";
import type { Me, Settings as SettingsShape } from "../api/types";
import { t } from "../i18n";
import { byteLength } from "../lib/text";
import { notifications, setNotifications, setTheme, theme, themes, type Theme } from "../lib/theme";
import { Button, Copyable, Input, Passphrase, Section, Skeleton, StrengthHint, Switch } from "../ui/kit";
import { toast } from "../ui/toasts";
import { KeyRows } from "./keyboard";
import { passphraseProblem, Problem } from "./onboarding";
import { Page } from "./page";
import { NetworkSection } from "./relays";

const NAME_BYTES_MAX = 128;

function Profile({ me }: { me: Me }) {
  const [name, setName] = useState(me.name);
  const [about, setAbout] = useState(me.about);
  const own = name.trim();
  const save = useAction((body: { name: string; about: string }) => api.put("/me", body), {
    quiet: true,
    refresh: [keys.me],
    done: () => toast.info(t.settings.saved),
  });
  const problem = own === "" ? t.onboarding.needName : byteLength(own) > NAME_BYTES_MAX ? t.onboarding.nameLong : null;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (problem === null) save.mutate({ name: own, about: about.trim() });
  };
  return (
    <form noValidate onSubmit={submit} className="flex flex-col gap-4">
      <Input label={t.onboarding.name} problem={problem} value={name} maxLength={NAME_BYTES_MAX} onChange={(event) => setName(event.target.value)} />
      <Input label={t.settings.about} hint={t.settings.aboutHint} value={about} maxLength={300} spellCheck onChange={(event) => setAbout(event.target.value)} />
      {save.error === null ? null : <Problem text={sentence(save.error)} />}
      <div className="flex flex-wrap gap-2">
        <Button type="submit" look="primary" busy={save.isPending} isDisabled={own === me.name && about.trim() === me.about}>
          {t.settings.saveProfile}
        </Button>
        <Copyable text={me.account} label={t.settings.copyAccount} />
      </div>
    </form>
  );
}

function Privacy({ settings }: { settings: SettingsShape }) {
  const save = useAction((body: SettingsShape) => api.put("/settings", body), { refresh: [keys.settings], parallel: true });
  const now = save.isPending ? save.variables : settings;
  const set = (fields: Partial<SettingsShape>) => save.mutate({ ...now, ...fields });
  return (
    <div className="flex flex-col">
      <Switch
        label={t.settings.readReceipts}
        hint={t.settings.readReceiptsHint}
        checked={now.read_receipts}
        onChange={(checked) => set({ read_receipts: checked })}
      />
      <Switch label={t.settings.typing} hint={t.settings.typingHint} checked={now.typing} onChange={(checked) => set({ typing: checked })} />
      <Switch label={t.settings.direct} hint={t.settings.directHint} checked={now.direct} onChange={(checked) => set({ direct: checked })} />
    </div>
  );
}

function ChangePassphrase() {
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [repeat, setRepeat] = useState("");
  const [shown, setShown] = useState(false);
  const [tried, setTried] = useState(false);
  const change = useAction((body: { old: string; new: string }) => api.post("/vault/passphrase", body), {
    quiet: true,
    done: () => {
      setOld("");
      setNext("");
      setRepeat("");
      setTried(false);
      toast.info(t.settings.changed);
    },
  });
  const problems = {
    old: old === "" ? t.unlock.need : null,
    next: passphraseProblem(next),
    repeat: repeat === next ? null : t.onboarding.differ,
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (problems.old ?? problems.next ?? problems.repeat) return;
    change.mutate({ old, new: next });
  };
  const common = { shown, maxLength: 1024 };
  return (
    <form noValidate onSubmit={submit} className="flex flex-col gap-4">
      <Passphrase
        {...common}
        label={t.settings.current}
        problem={tried ? problems.old : null}
        value={old}
        autoComplete="current-password"
        onShow={setShown}
        onChange={(event) => setOld(event.target.value)}
      />
      <Passphrase
        {...common}
        label={t.unlock.newPassphrase}
        problem={tried ? problems.next : null}
        value={next}
        autoComplete="new-password"
        onChange={(event) => setNext(event.target.value)}
      />
      <StrengthHint passphrase={next} />
      <Passphrase
        {...common}
        label={t.onboarding.repeat}
        problem={tried ? problems.repeat : null}
        value={repeat}
        autoComplete="new-password"
        onChange={(event) => setRepeat(event.target.value)}
      />
      {change.error === null ? null : <Problem text={sentence(change.error)} />}
      <div>
        <Button type="submit" busy={change.isPending}>
          {t.settings.changePassphrase}
        </Button>
      </div>
    </form>
  );
}

function SessionButtons() {
  const left = { done: () => void client.invalidateQueries({ queryKey: keys.session }) };
  const lock = useAction(() => api.post("/vault/lock"), left);
  const signOut = useAction(() => api.delete("/session"), {
    done: () => {
      clearOutbox();
      left.done();
    },
  });
  return (
    <div className="flex flex-col gap-4">
      <div className="flex items-center justify-between gap-4">
        <p className="text-sm text-soft">{t.settings.lockHint}</p>
        <div className="shrink-0">
          <Button icon="lock" busy={lock.isPending} onPress={() => lock.mutate()}>
            {t.settings.lock}
          </Button>
        </div>
      </div>
      <div className="flex items-center justify-between gap-4">
        <p className="text-sm text-soft">{t.settings.signOutHint}</p>
        <div className="shrink-0">
          <Button icon="leave" busy={signOut.isPending} onPress={() => signOut.mutate()}>
            {t.settings.signOut}
          </Button>
        </div>
      </div>
    </div>
  );
}

function Appearance() {
  const now = useValue(theme);
  return (
    <fieldset role="radiogroup" aria-label={t.settings.appearance} className="flex flex-wrap gap-2">
      {themes.map((value: Theme) => (
        <label key={value} className="choice">
          <input type="radio" name="theme" className="sr-only" checked={now === value} onChange={() => setTheme(value)} />
          {t.settings.theme[value]}
        </label>
      ))}
    </fieldset>
  );
}

function Notifications() {
  const wanted = useValue(notifications);
  const [denied, setDenied] = useState(() => "Notification" in window && Notification.permission === "denied");
  if (!("Notification" in window)) return null;
  const set = async (on: boolean) => {
    const answer = on ? await Notification.requestPermission() : Notification.permission;
    setDenied(answer === "denied");
    setNotifications(on && answer === "granted");
  };
  return (
    <div>
      <Switch
        label={t.settings.notifications}
        hint={denied ? t.settings.notificationsDenied : t.settings.notificationsHint}
        checked={wanted && !denied}
        onChange={(on) => void set(on)}
      />
    </div>
  );
}

function About({ me }: { me: Me | undefined }) {
  const health = useHealth().data;
  return (
    <div className="flex flex-col gap-4 text-sm">
      <p className="text-soft">{health === undefined ? null : t.settings.version(health.version)}</p>
      {me === undefined ? null : (
        <dl className="flex flex-col gap-2 text-xs text-soft">
          <div>
            <dt className="font-medium">{t.settings.account}</dt>
            <dd className="font-mono break-all">{me.account}</dd>
          </div>
          <div>
            <dt className="font-medium">{t.settings.device}</dt>
            <dd className="font-mono break-all">{me.device}</dd>
          </div>
        </dl>
      )}
      <h3 className="font-medium">{t.keyboard.title}</h3>
      <KeyRows />
    </div>
  );
}

export function Settings({ section }: { section: string | null }) {
  const me = useMe().data;
  const settings = useSettings();
  const top = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (section === null) return;
    const heading = document.getElementById(`settings-${section}`);
    heading?.scrollIntoView({ block: "start" });
    heading?.focus({ preventScroll: true });
  }, [section, me, settings.data]);

  return (
    <Page title={t.settings.title}>
      <div ref={top} className="flex flex-col gap-10">
        <Section title={t.settings.profile} id="settings-profile">
          {me === undefined ? <Skeleton rows={2} /> : <Profile key={`${me.name}/${me.about}`} me={me} />}
        </Section>
        <Section title={t.settings.privacy} id="settings-privacy">
          {settings.error === null ? null : <Problem text={sentence(settings.error)} />}
          {settings.data === undefined ? <Skeleton rows={3} /> : <Privacy settings={settings.data} />}
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
