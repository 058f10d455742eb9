// Network namespaces on one link, each for a node and its browser.

import type { Place } from "./lab.js";
import { Namespace } from "./namespaces.js";

const SWITCH = "10.77.0.254";

/** Namespaces on one switch. */
export class Link {
  private readonly middle = new Namespace("switch");
  readonly sides: readonly Namespace[];
  readonly places: readonly Place[];

  constructor(count = 2) {
    const { middle } = this;
    middle.ip("link", "add", "br0", "type", "bridge");
    middle.ip("addr", "add", `${SWITCH}/24`, "dev", "br0");
    middle.ip("link", "set", "br0", "up");
    this.sides = Array.from({ length: count }, (_, n) => new Namespace(`side${n}`));
    this.places = this.sides.map((side, n) => {
      const address = `10.77.0.${n + 1}`;
      side.ip("link", "add", "link0", "type", "veth", "peer", "name", `p${n}`, "netns", middle.name);
      middle.ip("link", "set", `p${n}`, "master", "br0", "up");
      side.ip("addr", "add", `${address}/24`, "dev", "link0");
      side.ip("link", "set", "link0", "up");
      return side.place(address);
    });
    this.route();
  }

  private route() {
    // Without a way out a browser believes that it is offline.
    for (const side of this.sides) side.ip("route", "replace", "default", "via", SWITCH);
  }

  /** Makes the link this long, in ms of a round trip. */
  async lengthen(tripMs: number): Promise<void> {
    for (const side of this.sides) await side.far(["OUTPUT", "-o", "link0"], tripMs / 2, 0);
  }

  cut() {
    for (const side of this.sides) side.ip("link", "set", "link0", "down");
  }

  mend() {
    for (const side of this.sides) side.ip("link", "set", "link0", "up");
    this.route();
  }

  close() {
    for (const place of [...this.sides, this.middle]) place.close();
  }
}
