import { expect, test } from "vitest";
import type { Member } from "../api/types";
import { offers } from "./roles";

const nobody: Member = {
  account: "kith1a",
  name: "Ann",
  role: "owner",
  devices: 1,
  seen: true,
  me: false,
  verified: false,
  may_make_owner: false,
  may_make_admin: false,
  may_make_member: false,
  may_remove: false,
};

test("offers what the node says, whatever the role, in the order of the menu", () => {
  expect(offers(nobody)).toEqual([]);
  expect(offers({ ...nobody, may_remove: true, may_make_member: true })).toEqual(["member", "remove"]);
  expect(offers({ ...nobody, role: "member", may_make_admin: true, may_make_owner: true })).toEqual(["owner", "admin"]);
});
