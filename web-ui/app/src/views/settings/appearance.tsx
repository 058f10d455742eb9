// What this browser shows and how: colours, notifications.

import { useState } from "react";
import { useValue } from "../../api/store";
import { t } from "../../i18n";
import { notifications, setNotifications, setTheme, theme, themes, type Theme } from "../../lib/remembered";
import { Switch } from "../../ui/field";

export function Appearance() {
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

export function Notifications() {
  const wanted = useValue(notifications);
  const [denied, setDenied] = useState(() => "Notification" in window && Notification.permission === "denied");
  if (!("Notification" in window)) return null;
  const set = async (on: boolean) => {
    const answer = on ? await Notification.requestPermission() : Notification.permission;
    setDenied(answer === "denied");
    setNotifications(on && answer === "granted");
  };
  return (
    <Switch
      label={t.settings.notifications}
      hint={denied ? t.settings.notificationsDenied : t.settings.notificationsHint}
      checked={wanted && !denied}
      onChange={(on) => void set(on)}
    />
  );
}
