import { describe, expect, it } from "vitest";
import { byteLength, clean, initials, isFewEmoji, parts } from "./text";

const links = (text: string) => parts(text).flatMap((p) => (p.kind === "link" ? [p] : []));
const joined = (text: string) =>
  parts(text)
    .map((p) => (p.kind === "hidden" ? "" : p.text))
    .join("");

describe("links", () => {
  it("finds addresses and leaves the sentence's own marks outside", () => {
    expect(links("See https://example.org/a?b=1, or http://example.net.").map((l) => l.text)).toEqual([
      "https://example.org/a?b=1",
      "http://example.net",
    ]);
    expect(links("(https://en.example/wiki/Kith_(word))")[0]?.text).toBe("https://en.example/wiki/Kith_(word)");
    expect(links("“https://example.org”…")[0]?.text).toBe("https://example.org");
  });

  it("loses no character of the message", () => {
    const text = "a https://example.org b www.example.net/c, d\nhttps://x.example";
    expect(joined(text)).toBe(text);
  });

  it("gives www a scheme and calls it no trick", () => {
    expect(links("www.example.org")[0]).toMatchObject({ href: "https://www.example.org/", host: "www.example.org", warn: false });
  });

  it("knows no other schemes", () => {
    for (const text of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://example.org", "kith-invite:abc", "kith-relay:abcdefghijklmnopqrst"]) {
      expect(links(text)).toEqual([]);
    }
  });

  it("knows invites", () => {
    const invite = `kith-invite:${"Ab0-_".repeat(20)}`;
    expect(parts(`Join us: ${invite}.`)).toEqual([
      { kind: "text", text: "Join us: " },
      { kind: "invite", text: invite },
      { kind: "text", text: "." },
    ]);
  });

  it("is content with case, ports and queries", () => {
    for (const text of ["https://EXAMPLE.org/", "https://example.org:443/", "http://example.org:8080", "https://example.org?x=1", "https://example.org#a"]) {
      expect(links(text)[0]?.warn, text).toBe(false);
    }
  });

  it("shows the real host of look-alike letters", () => {
    expect(links("https://аррӏе.com/login")[0]).toMatchObject({ host: "xn--80ak6aa92e.com", warn: true });
    expect(links("https://exаmple.org")[0]?.warn).toBe(true);
    // Wide forms become plain letters; the eye is still told where it leads.
    expect(links("https://ｅxample.org")[0]).toMatchObject({ host: "example.org", warn: true });
  });

  it("shows the real host behind a user name", () => {
    expect(links("https://bank.example@evil.example/x")[0]).toMatchObject({ host: "evil.example", warn: true });
    expect(links("https://bank.example:443@evil.example")[0]).toMatchObject({ host: "evil.example", warn: true });
  });

  it("ends an address at characters that cannot be seen", () => {
    const right = "\u202E";
    const [link] = links(`https://example.org/${right}gpj.exe`);
    expect(link?.text).toBe("https://example.org/");
    expect(links("https://exam\u200Bple.org/x")[0]?.text ?? "").not.toContain("\u200B");
    expect(links("https://example.org/a\u2066b")[0]?.text).toBe("https://example.org/a");
  });

  it("leaves nonsense as text", () => {
    for (const text of ["https://", "http:// example", "https://localhost.", "https://a", "https://[::1", `https://example.org/${"a".repeat(4000)}`]) {
      expect(links(text).length, text.slice(0, 40)).toBe(text.startsWith("https://localhost") ? 1 : 0);
      expect(joined(text)).toBe(text);
    }
  });

  it("takes messages made to be slow", () => {
    const run = "https://a.example/(((((".repeat(2800).slice(0, 65_536);
    expect(links(run)).toEqual([]);
    expect(joined(run)).toBe(run);
    const many = "https://a.example/ ".repeat(3400);
    expect(links(many).length).toBe(200);
    expect(joined(many)).toBe(many);
  });
});

describe("hidden characters", () => {
  it("makes overrides visible and lets isolates be", () => {
    expect(parts("photo\u202Egpj.exe")).toEqual([
      { kind: "text", text: "photo" },
      { kind: "hidden", code: "U+202E" },
      { kind: "text", text: "gpj.exe" },
    ]);
    expect(parts("a\u2068b\u2069c").every((p) => p.kind === "text")).toBe(true);
  });

  it("cleans names", () => {
    expect(clean(" Bob\u202Enimda\n\u0000x ")).toBe("Bobnimda x");
    expect(clean("דנה")).toBe("דנה");
  });
});

describe("small things", () => {
  it("takes initials from any script", () => {
    expect(initials("Bob Marin")).toBe("BM");
    expect(initials("élodie")).toBe("É");
    expect(initials("小林 潤")).toBe("小潤");
    expect(initials("🦊 Fox")).toBe("🦊F");
    expect(initials("")).toBe("?");
    expect(initials("--- !!!")).toBe("?");
  });

  it("knows one to three emoji", () => {
    expect(isFewEmoji("😀")).toBe(true);
    expect(isFewEmoji("👩‍👩‍👧‍👦🇳🇱👍🏽")).toBe(true);
    expect(isFewEmoji("😀😀😀😀")).toBe(false);
    expect(isFewEmoji("7")).toBe(false);
    expect(isFewEmoji("ok 😀")).toBe(false);
    expect(isFewEmoji("")).toBe(false);
  });

  it("counts bytes as they are sent", () => {
    expect(byteLength("aé😀")).toBe(7);
  });
});
