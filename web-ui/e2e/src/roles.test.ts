// Roles and reports in the browser: an admin made and unmade, somebody removed,
// a message reported and settled; once by pointer and once by keys alone.

import { keys, pointer, type Hands } from "./hands.js";
import { acquaint, until, type Node } from "./lab.js";
import { Scenario } from "./steps.js";
import { App } from "./views.js";

const GROUP = "Choir";

function roles(title: string, hands: Hands): void {
  const scenario = new Scenario(title, hands.keysOnly);
  const { lab } = scenario;
  const apps: App[] = [];
  const [alice, bob, carol] = [0, 1, 2].map((index) => (): App => {
    const app = apps[index];
    if (app === undefined) throw new Error("nobody sits there");
    return app;
  }) as [() => App, () => App, () => App];

  scenario.step("three people in a group", async () => {
    const nodes: Node[] = [];
    for (const name of ["Alice", "Bob", "Carol"]) {
      const node = await lab.startNode(name);
      await node.signUp();
      nodes.push(node);
    }
    const [a, b, c] = nodes as [Node, Node, Node];
    await acquaint(a, b);
    await acquaint(a, c);
    const members = [];
    for (const node of [b, c]) members.push((await node.api("GET", "/me")).account);
    const { conversation } = await a.api("POST", "/conversations", { title: GROUP, members });
    for (const node of nodes) {
      await until(node, "the whole group", async () => {
        const list: any[] = await node.api("GET", "/conversations");
        return list.find((one) => one.id === conversation && one.member_count === 3) ?? null;
      });
      const app = new App(await scenario.sit(node), hands);
      await app.open(GROUP);
      apps.push(app);
    }
  });

  scenario.step("make Bob an admin: everybody reads it, and Bob may manage", async () => {
    await alice().details();
    await alice().manage("Bob", "Make admin", "Make admin");
    for (const app of [alice(), bob(), carol()]) await app.message("Alice made Bob an admin").waitFor();
    await alice().member("Bob").getByText("Admin").waitFor();
    await bob().details();
    await bob().member("Carol").getByRole("button", { name: "Manage Carol" }).waitFor();
    await bob().manages("Alice", false);
  });

  scenario.step("report a message to the admins", async () => {
    await bob().say("Buy my boat");
    await carol().report("Buy my boat", "This is an advert");
    await carol().message("You reported a message of Bob to the admins").waitFor();
    const report = alice().message("Carol reported a message of Bob");
    await report.getByText("This is an advert").waitFor();
    await hands.pressIn(report, "Show message");
    // The accused is not told.
    await bob().say("Anybody?");
    await carol().message("Anybody?").waitFor();
    await bob().hasNo("reported a message");
    await hands.pressIn(report, "Dismiss");
    await alice().message("Carol reported a message of Bob, and you settled it").waitFor();
  });

  scenario.step("make Bob a plain member, then remove him", async () => {
    await alice().manage("Bob", "Make member", "Make member");
    for (const app of [alice(), bob(), carol()]) await app.message("Alice made Bob a plain member").waitFor();
    await bob().manages("Carol", false);
    await alice().manage("Bob", "Remove from the group", "Remove");
    for (const app of [alice(), bob(), carol()]) await app.message("Alice removed Bob").waitFor();
    await bob().page.getByText("You were removed from this group. What was said stays readable here.").waitFor();
    await alice().member("Bob").waitFor({ state: "detached" });
  });
}

roles("roles by pointer", pointer);
roles("roles by keys", keys);
