// The app proper: the list on the left, the view that the address names, and
// what is always there (jump, keyboard list, announcements).

import { Suspense, lazy, useCallback, useEffect, useRef, useState } from "react";
import { useValue } from "../api/store";
import { t } from "../i18n";
import { useGlobalKeys } from "../lib/keys";
import { shown } from "../lib/call/session";
import { announcement } from "../lib/notify";
import { readListWidth, writeListWidth } from "../lib/remembered";
import { usePath, useRoute, type Route } from "../lib/router";
import { useStream } from "../lib/stream";
import { useTitle } from "../lib/title";
import { Skeleton } from "../ui/panel";
import { Chat } from "./chat/chat";
import { Home } from "./home";
import { CallLayer } from "./call/layer";
import { Resizer } from "./resizer";
import { Sidebar } from "./sidebar/sidebar";

const People = lazy(() => import("./people/people").then((m) => ({ default: m.People })));
const PersonView = lazy(() => import("./people/person").then((m) => ({ default: m.PersonView })));
const NewGroup = lazy(() => import("./new-group").then((m) => ({ default: m.NewGroup })));
const Settings = lazy(() => import("./settings/settings").then((m) => ({ default: m.Settings })));
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

function Announcer() {
  const text = useValue(announcement);
  return (
    <div aria-live="polite" className="sr-only">
      {text}
    </div>
  );
}

/** Apart, so that new messages draw only what shows them. */
function Title({ route }: { route: Route }) {
  useTitle(route);
  return null;
}

export function Shell() {
  useStream();
  // A call in full size lies over everything.
  const covered = useValue(shown)?.expanded === true;
  const route = useRoute();
  const path = usePath();
  const [jump, setJump] = useState(false);
  const [help, setHelp] = useState(false);
  const [width, setWidth] = useState(readListWidth);
  const onJump = useCallback(() => setJump(true), []);
  const onHelp = useCallback(() => setHelp(true), []);
  useGlobalKeys({ onJump, onHelp });

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
    <>
    <CallLayer />
    <div className="shell" inert={covered} data-pane={route.view === "home" ? "list" : "main"} style={{ "--list": `${width}px` } as React.CSSProperties}>
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
      <Title route={route} />
      <Announcer />
      <Suspense fallback={null}>
        {jump ? <Jump onClose={() => setJump(false)} onHelp={onHelp} /> : null}
        {help ? <Keyboard onClose={() => setHelp(false)} /> : null}
      </Suspense>
    </div>
    </>
  );
}
