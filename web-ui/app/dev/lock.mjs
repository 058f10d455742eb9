// Makes package-lock.json whole for every platform: a registry that carries
// the packages of one platform only leaves the others out, and `npm ci` then
// refuses the file. Entries added here have no checksum and are only ever
// looked at on their own platform. Run after `npm install`.
import { readFile, writeFile } from "node:fs/promises";

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(await readFile(file, "utf8"));
const systems = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"];
const processors = { arm64: "arm64", arm: "arm", x64: "x64", ia32: "ia32", ppc64: "ppc64", riscv64: "riscv64", s390x: "s390x", wasm32: "wasm32" };
const known = new Set(Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13)));
let added = 0;
for (const entry of Object.values(lock.packages)) {
  delete entry.resolved;
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (known.has(name)) continue;
    const parts = name.split("/").at(-1).split("-");
    const cpu = parts.map((part) => processors[part]).find((found) => found !== undefined);
    const os = systems.find((system) => parts.includes(system));
    if (cpu === undefined) throw new Error(`${name} names no platform`);
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      dev: true,
      optional: true,
      ...(os === undefined ? {} : { os: [os] }),
      ...(parts.includes("musl") || parts.includes("musleabihf") ? { libc: ["musl"] } : {}),
    };
    known.add(name);
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
await writeFile(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} packages of other platforms added`);
