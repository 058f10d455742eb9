import { describe, expect, it } from "vitest";
import { strength } from "./strength";

describe("strength", () => {
  it("is a fair hint", () => {
    expect(strength("")).toBe("empty");
    for (const weak of ["abc", "password", "passwordpassword", "aaaaaaaaaaaaaaaa", "12345678", "qwertyuiop"]) expect(strength(weak), weak).toBe("weak");
    expect(["good", "strong"]).toContain(strength("correct horse battery staple"));
    expect(strength("a quiet place by the sea in winter")).toBe("strong");
    expect(["good", "strong"]).toContain(strength("kV9#xq!2LmZ@4r"));
  });
});
