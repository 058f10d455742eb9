// A libp2p node that others wrote meets a Kith relay: connects, identifies,
// pings, reserves, and is reached through the circuit by another one.
// Usage: KITH_BOOTSTRAP_BIN=… node reach.mjs

import "./node20.mjs";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { webSockets } from "@libp2p/websockets";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

const PROTOCOL = "/kith-interop/echo/1";
const PATIENCE_MS = 30_000;

function fail(text) {
  throw new Error(text);
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Starts a relay; resolves when it has printed its link. */
async function startRelay(data, port, wsPort) {
  const program = process.env.KITH_BOOTSTRAP_BIN ?? fail("KITH_BOOTSTRAP_BIN names no relay");
  const listen = [`/ip4/127.0.0.1/tcp/${port}`, `/ip4/127.0.0.1/tcp/${wsPort}/ws`];
  const flags = ["--data", data, "--no-qr", ...listen.flatMap((at) => ["--listen", at])];
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "inherit"] });
  await within(
    "the relay's link",
    new Promise((done, broken) => {
      let text = "";
      child.stdout.on("data", (bytes) => {
        text += bytes;
        if (text.includes("kith-relay:")) done();
      });
      child.on("exit", (code) => broken(new Error(`the relay ended (${code})`)));
    }),
  );
  return child;
}

async function node(listen) {
  return createLibp2p({
    addresses: { listen },
    transports: [tcp(), webSockets(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping() },
    connectionGater: { denyDialMultiaddr: () => false },
  });
}

const data = mkdtempSync(join(tmpdir(), "kith-interop-"));
const port = await freePort();
const wsPort = await freePort();
const relay = await startRelay(data, port, wsPort);

/** Everything, over one transport. */
async function meet(name, address, nodes) {
  // Who the relay is, it says itself.
  const guest = await node([]);
  nodes.push(guest);
  const connection = await within("a connection", guest.dial(multiaddr(address)));
  console.log(`connected: ${connection.remotePeer}`);
  const trip = await within("a ping", guest.services.ping.ping(connection.remotePeer));
  console.log(`ping: ${trip} ms`);
  const known = await within("what the relay speaks", guest.services.identify.identify(connection));
  known.protocols.includes("/libp2p/circuit/relay/0.2.0/hop") || fail(`no circuits: ${known.protocols}`);
  console.log(`identified: ${known.agentVersion}, ${known.protocols.length} protocols`);

  const at = `${address}/p2p/${connection.remotePeer}`;
  const host = await node([`${at}/p2p-circuit`]);
  nodes.push(host);
  let heard = 0;
  await host.handle(
    PROTOCOL,
    (stream) => {
      stream.addEventListener?.("message", (event) => {
        heard += event.data.byteLength;
        stream.send(event.data);
      });
    },
    { runOnLimitedConnection: true },
  );
  const circuit = await within(
    "a reservation",
    (async () => {
      for (;;) {
        const found = host.getMultiaddrs().find((a) => a.toString().includes("p2p-circuit"));
        if (found !== undefined) return found;
        await new Promise((done) => host.addEventListener("self:peer:update", done, { once: true }));
      }
    })(),
  );
  console.log("reserved");
  const stream = await within(
    "a stream through the circuit",
    guest.dialProtocol(circuit, PROTOCOL, { runOnLimitedConnection: true }),
  );
  const back = within(
    "the echo",
    new Promise((done) => {
      let got = 0;
      stream.addEventListener("message", (event) => {
        got += event.data.byteLength;
        if (got >= 5) done(got);
      });
    }),
  );
  stream.send(new TextEncoder().encode("hello"));
  const echoed = await back;
  heard === 5 && echoed === 5 ? console.log("reached through the circuit: 5 bytes there and back") : fail(`${heard}`);
  console.log(`interop.js_libp2p.${name}: 1 pass`);
}

const nodes = [];
try {
  await meet("tcp", `/ip4/127.0.0.1/tcp/${port}`, nodes);
  await meet("ws", `/ip4/127.0.0.1/tcp/${wsPort}/ws`, nodes);
} finally {
  await Promise.allSettled(nodes.map((n) => n.stop()));
  relay.kill();
  rmSync(data, { recursive: true, force: true });
}
