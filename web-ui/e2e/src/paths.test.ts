// The ways that a message can take: with the relay stopped directly, without
// direct connections by the relay; and what one types appears at the others.

import { pointer } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { Scenario } from "./steps.js";
import { App } from "./views.js";

const GROUP = "Paths";

function paths(title: string, extra: string[], relayStops: boolean): void {
  const scenario = new Scenario(title, false);
  const { lab } = scenario;
  const apps: App[] = [];

  scenario.step("three acquainted nodes with a group", async () => {
    const relay = await lab.startRelay();
    const nodes: Node[] = [];
    for (const name of ["Alice", "Bob", "Carol"]) {
      const node = await lab.startNode(name, extra);
      await node.signUp();
      await node.api("POST", "/relays", { link: relay.link });
      nodes.push(node);
    }
    const [alice, bob, carol] = nodes as [Node, Node, Node];
    await acquaint(alice, bob);
    await acquaint(alice, carol);
    const members = [];
    for (const node of [bob, carol]) members.push((await node.api("GET", "/me")).account);
    const { conversation } = await alice.api("POST", "/conversations", { title: GROUP, members });
    for (const node of nodes) {
      await until(node, "the group", async () => {
        const list: any[] = await node.api("GET", "/conversations");
        return list.find((c) => c.id === conversation) ?? null;
      });
      const app = new App(await scenario.sit(node), pointer);
      await app.open(GROUP);
      apps.push(app);
    }
  });

  const everyone = async (when: string) => {
    for (const speaker of apps) {
      const text = `${speaker.name} ${when}`;
      await speaker.say(text);
      for (const other of apps) await other.message(text).waitFor();
    }
  };

  scenario.step("what one types appears at the others", async () => everyone("types"));
  if (relayStops) {
    scenario.step("with the relay stopped it still arrives", async () => {
      await lab.relay?.stop();
      await everyone("without the relay");
    });
  }
}

paths("direct", [], true);
paths("relay only", ["--no-direct"], false);
