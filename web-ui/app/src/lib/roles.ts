// What may be done with a member of a group, in the order of the menu. The node
// says what the group takes; nothing is judged here.

import type { Member } from "../api/types";

export type Act = "owner" | "admin" | "member" | "remove";

export function offers(member: Member): Act[] {
  const all: [Act, boolean][] = [
    ["owner", member.may_make_owner],
    ["admin", member.may_make_admin],
    ["member", member.may_make_member],
    ["remove", member.may_remove],
  ];
  return all.filter(([, may]) => may).map(([act]) => act);
}
