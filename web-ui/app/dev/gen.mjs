// Types of the API's shapes from the OpenAPI document. Paths are left out:
// the app names them itself, in api/.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const document = JSON.parse(await readFile(new URL("../../openapi.json", import.meta.url), "utf8"));
const text = astToString(await openapiTS({ ...document, paths: {} }));
const head = "// Generated from openapi.json by `npm run gen`. Do not edit.\n\n";
await writeFile(new URL("../src/api/schema.ts", import.meta.url), head + text);
