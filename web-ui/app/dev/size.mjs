// JavaScript of the first view, gzip: what index.html loads before anything
// is shown, and the rest for comparison.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 220;
const dist = new URL("../dist/", import.meta.url);
const index = readFileSync(new URL("index.html", dist), "utf8");
let first = 0;
for (const name of readdirSync(new URL("assets/", dist)).filter((file) => file.endsWith(".js"))) {
  const kb = gzipSync(readFileSync(new URL(`assets/${name}`, dist)), { level: 9 }).length / 1000;
  const now = index.includes(`/assets/${name}`);
  if (now) first += kb;
  console.log(`${now ? "first" : "later"} ${kb.toFixed(1).padStart(6)} kB ${name}`);
}
console.log(`first view: ${first.toFixed(1)} kB of ${LIMIT_KB}`);
process.exitCode = first > LIMIT_KB ? 1 : 0;
