// Two network namespaces on one link, each for a node and its browser.

import type { Place } from "./lab.js";
import { Namespace } from "./namespaces.js";

/** One link between two namespaces. */
export class Link {
  readonly sides: readonly [Namespace, Namespace] = [new Namespace("a"), new Namespace("b")];
  readonly places: readonly [Place, Place];

  constructor() {
    const [a, b] = this.sides;
    a.ip("link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", b.name);
    this.places = this.sides.map((side, n) => {
      const address = `10.77.0.${n + 1}`;
      side.ip("addr", "add", `${address}/24`, "dev", "link0");
      side.ip("link", "set", "link0", "up");
      return side.place(address);
    }) as unknown as [Place, Place];
    this.route();
  }

  private route() {
    // Without a way out a browser believes that it is offline.
    this.sides.forEach((side, n) => side.ip("route", "replace", "default", "via", `10.77.0.${2 - n}`));
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
    for (const side of this.sides) side.close();
  }
}
