// What libp2p takes for granted and Node.js 20 does not have yet.

import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;

Promise.withResolvers ??= function withResolvers() {
  let resolve;
  let reject;
  const promise = new this((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
};
