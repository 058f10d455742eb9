// The address bar names the view. A small router over the History API.

import type { AnchorHTMLAttributes, MouseEvent, Ref } from "react";
import { useValue, Value } from "../api/store";

export type Route =
  | { view: "home" }
  | { view: "chat"; id: string; details: boolean }
  | { view: "people" }
  | { view: "person"; account: string }
  | { view: "new-group" }
  | { view: "settings"; section: string | null };

const ID = /^[0-9a-zA-Z]{1,128}$/;

/** The view that a path names; unknown paths are the home view. */
export function parseRoute(path: string): Route {
  const [first, second, third, more] = path.split("/").slice(1);
  if (more !== undefined) return { view: "home" };
  switch (first) {
    case "c":
      if (second === undefined || !ID.test(second) || (third !== undefined && third !== "details")) break;
      return { view: "chat", id: second, details: third === "details" };
    case "people":
      if (third !== undefined) break;
      if (second === undefined || second === "") return { view: "people" };
      return ID.test(second) ? { view: "person", account: second } : { view: "people" };
    case "new-group":
      return { view: "new-group" };
    case "settings":
      return { view: "settings", section: second !== undefined && /^[a-z]{1,20}$/.test(second) ? second : null };
    default:
      break;
  }
  return { view: "home" };
}

export const paths = {
  home: "/",
  chat: (id: string) => `/c/${id}`,
  details: (id: string) => `/c/${id}/details`,
  people: "/people",
  person: (account: string) => `/people/${account}`,
  newGroup: "/new-group",
  settings: (section?: string) => (section === undefined ? "/settings" : `/settings/${section}`),
};

const current = new Value(typeof location === "undefined" ? "/" : location.pathname);

function changed() {
  current.set(location.pathname);
}

if (typeof window !== "undefined") window.addEventListener("popstate", changed);

export function navigate(path: string, options: { replace?: boolean } = {}) {
  if (path === location.pathname) return;
  performance.clearMarks("kith:navigate");
  performance.mark("kith:navigate");
  if (options.replace === true) history.replaceState({ inApp: true }, "", path);
  else history.pushState({ inApp: true }, "", path);
  changed();
}

/** Back to where the person came from inside the app, else to `fallback`. */
export function goBack(fallback: string) {
  const state: unknown = history.state;
  if (typeof state === "object" && state !== null && "inApp" in state && history.length > 1) history.back();
  else navigate(fallback, { replace: true });
}

export function currentRoute(): Route {
  return parseRoute(current.get());
}

export function usePath(): string {
  return useValue(current);
}

export function useRoute(): Route {
  return parseRoute(usePath());
}

type LinkProps = AnchorHTMLAttributes<HTMLAnchorElement> & { href: string; replace?: boolean; ref?: Ref<HTMLAnchorElement> };

/** A link inside the app; modified clicks keep the browser's meaning. */
export function Link({ href, replace, onClick, children, ...rest }: LinkProps) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href, { replace: replace === true });
  };
  return (
    <a href={href} onClick={follow} {...rest}>
      {children}
    </a>
  );
}
