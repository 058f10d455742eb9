import { describe, expect, it, vi } from "vitest";
import { Value, Values } from "./store";

describe("Value", () => {
  it("tells of changes only", () => {
    const value = new Value(1);
    const told = vi.fn();
    const stop = value.subscribe(told);
    value.set(1);
    value.set(2);
    stop();
    value.set(3);
    expect(told).toHaveBeenCalledTimes(1);
    expect(value.get()).toBe(3);
  });
});

describe("Values", () => {
  it("has one value per key and a common one for the rest", () => {
    const values = new Values<string>("none");
    values.set("a", "1");
    expect([values.get("a"), values.get("b"), values.size]).toEqual(["1", "none", 1]);
    values.set("a", null);
    expect([values.get("a"), values.size]).toEqual(["none", 0]);
  });

  it("lets the key go that was set longest ago", () => {
    const values = new Values<number>(0, 2);
    values.set("a", 1);
    values.set("b", 2);
    values.set("a", 3);
    values.set("c", 4);
    expect([values.get("a"), values.get("b"), values.get("c")]).toEqual([3, 0, 4]);
  });

  it("tells of what it forgets, once", () => {
    const values = new Values<number>(0);
    values.set("a", 1);
    const told = vi.fn();
    values.subscribe(told);
    values.clear();
    values.clear();
    expect(told).toHaveBeenCalledTimes(1);
    expect(values.get("a")).toBe(0);
  });
});
