// Whom or what something is about: initials on a colour that follows from the
// id, or the mark of a group; and the portrait at the head of details.

import type { ReactNode } from "react";
import { clean, initials } from "../lib/text";
import { Icon } from "./icon";

const HUES = 10;

function hue(id: string): number {
  let sum = 7;
  for (let index = 0; index < id.length; index += 1) sum = (sum * 31 + id.charCodeAt(index)) >>> 0;
  return sum % HUES;
}

type Props = { id: string; name: string; group?: boolean; size?: "s" | "m" | "l" };

export function Avatar({ id, name, group = false, size = "m" }: Props) {
  const box = size === "s" ? "size-7 text-xs" : size === "m" ? "size-10 text-sm" : "size-20 text-xl";
  return (
    <span aria-hidden="true" className={`avatar hue-${hue(id)} ${box} grid shrink-0 place-items-center font-semibold select-none ${group ? "rounded-lg" : "rounded-full"}`}>
      {group ? <Icon name="group" size={size === "s" ? 16 : size === "m" ? 21 : 40} /> : initials(name)}
    </span>
  );
}

/** A large avatar with the name, and what else there is to say, below it. */
export function Portrait({ id, name, group = false, children }: { id: string; name: string; group?: boolean; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-2 text-center">
      <Avatar id={id} name={name} group={group} size="l" />
      <p className="max-w-full text-lg font-semibold break-words">
        <bdi>{clean(name)}</bdi>
      </p>
      {children}
    </div>
  );
}
