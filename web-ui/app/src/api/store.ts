// State outside of React that components can watch: one value, or one per key.
// In memory only.

import { useSyncExternalStore } from "react";

class Watched {
  private readonly listeners = new Set<() => void>();

  protected changed() {
    for (const listener of this.listeners) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };
}

export class Value<T> extends Watched {
  private value: T;

  constructor(value: T) {
    super();
    this.value = value;
  }

  readonly get = (): T => this.value;

  set(value: T) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    this.changed();
  }
}

/** One value per key; keys that are absent have the value `none`. */
export class Values<T> extends Watched {
  private readonly values = new Map<string, T>();
  private readonly none: T;
  private readonly max: number;

  /** With more than `max` keys the one that was set longest ago goes. */
  constructor(none: T, max = Number.POSITIVE_INFINITY) {
    super();
    this.none = none;
    this.max = max;
  }

  get size(): number {
    return this.values.size;
  }

  get(key: string): T {
    return this.values.get(key) ?? this.none;
  }

  /** Sets the value of a key; null takes it away. */
  set(key: string, value: T | null) {
    this.values.delete(key);
    if (value !== null) this.values.set(key, value);
    const oldest = this.values.size > this.max ? this.values.keys().next().value : undefined;
    if (oldest !== undefined) this.values.delete(oldest);
    this.changed();
  }

  clear() {
    if (this.values.size === 0) return;
    this.values.clear();
    this.changed();
  }
}

export function useValue<T>(value: Value<T>): T {
  return useSyncExternalStore(value.subscribe, value.get);
}

export function useValueOf<T>(values: Values<T>, key: string): T {
  return useSyncExternalStore(values.subscribe, () => values.get(key));
}
