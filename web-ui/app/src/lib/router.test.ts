import { describe, expect, it } from "vitest";
import { parseRoute, paths } from "./router";

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
