import { describe, expect, test } from "vitest";
import { length, size, timeLeft } from "./size";
import { waveformOf } from "./look";

describe("sizes and lengths", () => {
  test("are said in the unit that fits", () => {
    expect(size(0)).toBe("0 B");
    expect(size(999)).toBe("999 B");
    expect(size(1_500)).toBe("1.5 kB");
    expect(size(52_428_800)).toBe("52.4 MB");
    expect(size(10_737_418_240)).toBe("10.7 GB");
  });
  test("minutes and hours", () => {
    expect(length(5_000)).toBe("0:05");
    expect(length(65_400)).toBe("1:05");
    expect(length(3_723_000)).toBe("1:02:03");
  });
  test("what is left is told only when it is known", () => {
    expect(timeLeft(100, 0)).toBe("");
    expect(timeLeft(1_000, 100)).toBe("10 s left");
    expect(timeLeft(60_000, 100)).toBe("10 min left");
  });
  test("a waveform is bounded and scaled", () => {
    expect(waveformOf([])).toEqual([]);
    const wave = waveformOf(Array.from({ length: 1000 }, (_, i) => i / 1000));
    expect(wave).toHaveLength(64);
    expect(Math.max(...wave)).toBe(255);
    expect(waveformOf([0, 0])).toEqual([0, 0]);
  });
});
