import { describe, expect, it } from "vitest";
import { dayAndTime, dayName, dayOf, duration, shortWhen, until } from "./format";

const at = (day: number, hour = 9) => new Date(2026, 5, day, hour).getTime();

describe("dates", () => {
  const now = new Date(2026, 5, 17, 12).getTime();

  it("name days by how far they are", () => {
    expect(dayName(at(17), now)).toBe("Today");
    expect(dayName(at(16, 23), now)).toBe("Yesterday");
    expect(dayName(at(14), now)).toBe("Sunday");
    expect(dayName(at(3), now)).toContain("June");
    expect(dayName(new Date(2024, 1, 1).getTime(), now)).toContain("2024");
  });

  it("shorten in lists", () => {
    expect(shortWhen(at(16), now)).toBe("Tue");
    expect(shortWhen(at(3), now)).toMatch(/Jun/);
  });

  it("name the year when it is another one", () => {
    const old = new Date(2024, 1, 3, 9).getTime();
    for (const text of [shortWhen(old, now), dayAndTime(old, now), until(old, now)]) expect(text).toContain("2024");
    for (const text of [shortWhen(at(3), now), dayAndTime(at(3), now), until(at(3), now)]) expect(text).not.toContain("2026");
  });

  it("cut days at local midnight", () => {
    expect(dayOf(at(17, 0))).toBe(dayOf(at(17, 23)));
    expect(dayOf(at(16, 23))).not.toBe(dayOf(at(17, 0)));
  });

  it("say how long", () => {
    expect([duration(60), duration(3600), duration(86_400), duration(30 * 86_400)]).toEqual(["1 minute", "60 minutes", "24 hours", "30 days"]);
  });
});
