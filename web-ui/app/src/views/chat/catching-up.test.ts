import { expect, test } from "vitest";
import { catchingUpText } from "./catching-up";

const now = new Date(2026, 5, 14, 12, 0).getTime();

test("says what happens, and when further members are asked", () => {
  expect(catchingUpText({ asked: 0, next_at: null }, now)).toMatch(/looks for its way back/);
  expect(catchingUpText({ asked: 1, next_at: now + 30_000 }, now)).toMatch(/Asked 1 member to let .* again today, 12:00/);
  expect(catchingUpText({ asked: 3, next_at: now + 60_000 }, now)).toMatch(/Asked 3 members/);
  // A time that is over says nothing.
  expect(catchingUpText({ asked: 3, next_at: now - 1 }, now)).not.toMatch(/today/);
});
