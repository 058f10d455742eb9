// The app proper: the list on the left, the view that the address names, and
// what is always there (jump, keyboard list, announcements).

import { Suspense, lazy, useCallback, useEffect, useRef, useState } from "react";
import { useValue } from "../api/store";
import { useConversations, useMe } from "../api/queries";
import { t } from "../i18n";
import { announcement, useStream, useTitle } from "../lib/live";
import { useGlobalKeys } from "../lib/keys";
import { usePath, useRoute, type Route } from "../lib/router";
import { clampWidth, LIST_WIDTH_MAX, LIST_WIDTH_MIN, readListWidth, writeListWidth } from "../lib/theme";
import { Skeleton } from "../ui/kit";
import { Chat } from "./chat";
import { Home } from "./home";
import { Sidebar } from "./sidebar";

const People = lazy(() => import("./people").then((m) => ({ default: m.People })));
const PersonView = lazy(() => import("./person").then((m) => ({ default: m.PersonView })));
const NewGroup = lazy(() => import("./new-group").then((m) => ({ default: m.NewGroup })));
const Settings = lazy(() => import("./settings").then((m) => ({ default: m.Settings })));
const Jump = lazy(() => import("./jump").then((m) => ({ default: m.Jump })));
const Keyboard = lazy(() => import("./keyboard").then((m) => ({ default: m.Keyboard })));

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "home":
      return <Home />;
    case "chat":
      return <Chat key={route.id} id={route.id} details={route.details} />;
    case "people":
      return <People />;
    case "person":
      return <PersonView key={route.account} account={route.account} />;
    case "new-group":
      return <NewGroup />;
    case "settings":
      return <Settings section={route.section} />;
  }
}

function viewTitle(route: Route, title: (id: string) => string | null): string | null {
  switch (route.view) {
    case "chat":
      return title(route.id);
    case "people":
    case "person":
      return t.people.title;
    case "new-group":
      return t.group.title;
    case "settings":
      return t.settings.title;
    case "home":
      return null;
  }
}

function Resizer({ width, onWidth }: { width: number; onWidth: (px: number) => void }) {
  const drag = (event: React.PointerEvent<HTMLDivElement>) => {
    if (event.buttons !== 1) return;
    onWidth(clampWidth(event.clientX));
  };
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={t.nav.resize}
      aria-valuemin={LIST_WIDTH_MIN}
      aria-valuemax={LIST_WIDTH_MAX}
      aria-valuenow={width}
      tabIndex={0}
      className="resizer"
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") onWidth(clampWidth(width - 16));
        if (event.key === "ArrowRight") onWidth(clampWidth(width + 16));
      }}
    />
  );
}

function Announcer() {
  const text = useValue(announcement);
  return (
    <div aria-live="polite" className="sr-only">
      {text}
    </div>
  );
}

export function Shell() {
  useStream();
  useMe();
  const route = useRoute();
  const path = usePath();
  const conversations = useConversations();
  const [jump, setJump] = useState(false);
  const [help, setHelp] = useState(false);
  const [width, setWidth] = useState(readListWidth);
  const onJump = useCallback(() => setJump(true), []);
  const onHelp = useCallback(() => setHelp(true), []);
  useGlobalKeys({ onJump, onHelp });
  useTitle(viewTitle(route, (id) => conversations.data?.find((c) => c.id === id)?.title ?? null));

  // A change of view moves the focus into it; conversations do it themselves.
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    if (!path.startsWith("/c/") && path !== "/") main.current?.focus({ preventScroll: true });
  }, [path]);

  return (
    <div className="shell" data-pane={route.view === "home" ? "list" : "main"} style={{ "--list": `${width}px` } as React.CSSProperties}>
      <a href="#main" className="skip">
        {t.nav.skip}
      </a>
      <Sidebar route={route} onJump={onJump}>
        <Resizer
          width={width}
          onWidth={(px) => {
            setWidth(px);
            writeListWidth(px);
          }}
        />
      </Sidebar>
      <main id="main" ref={main} tabIndex={-1} className="flex min-h-0 min-w-0 outline-none" data-view={route.view}>
        <Suspense fallback={<Skeleton />}>
          <View route={route} />
        </Suspense>
      </main>
      <Announcer />
      <Suspense fallback={null}>
        {jump ? <Jump onClose={() => setJump(false)} onHelp={onHelp} /> : null}
        {help ? <Keyboard onClose={() => setHelp(false)} /> : null}
      </Suspense>
    </div>
  );
}
