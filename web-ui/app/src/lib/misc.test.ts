import { describe, expect, it } from "vitest";
import { dayName, dayOf, duration, shortWhen } from "../i18n/format";
import { parseRoute, paths } from "./router";
import { strength } from "./strength";

const at = (day: number, hour = 9) => new Date(2026, 5, day, hour).getTime();

describe("routes", () => {
  it("are what the paths say", () => {
    const id = "a".repeat(64);
    expect(parseRoute(paths.chat(id))).toEqual({ view: "chat", id, details: false });
    expect(parseRoute(paths.details(id))).toEqual({ view: "chat", id, details: true });
    expect(parseRoute(paths.person("kith1abc"))).toEqual({ view: "person", account: "kith1abc" });
    expect(parseRoute(paths.people)).toEqual({ view: "people" });
    expect(parseRoute(paths.settings("network"))).toEqual({ view: "settings", section: "network" });
    expect(parseRoute("/new-group")).toEqual({ view: "new-group" });
  });

  it("send everything else home", () => {
    for (const path of ["/", "/c", "/c/", "/c/../x", "/c/a/b", "/c/a/details/x", "/nowhere", "//", "/c/%2e"]) {
      expect(parseRoute(path).view, path).toBe("home");
    }
  });
});

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

  it("cut days at local midnight", () => {
    expect(dayOf(at(17, 0))).toBe(dayOf(at(17, 23)));
    expect(dayOf(at(16, 23))).not.toBe(dayOf(at(17, 0)));
  });

  it("say how long", () => {
    expect([duration(60), duration(3600), duration(86_400), duration(30 * 86_400)]).toEqual(["1 minute", "60 minutes", "24 hours", "30 days"]);
  });
});

describe("strength", () => {
  it("is a fair hint", () => {
    expect(strength("")).toBe("empty");
    for (const weak of ["abc", "password", "passwordpassword", "aaaaaaaaaaaaaaaa", "12345678", "qwertyuiop"]) expect(strength(weak), weak).toBe("weak");
    expect(["good", "strong"]).toContain(strength("correct horse battery staple"));
    expect(strength("a quiet place by the sea in winter")).toBe("strong");
    expect(["good", "strong"]).toContain(strength("kV9#xq!2LmZ@4r"));
  });
});
