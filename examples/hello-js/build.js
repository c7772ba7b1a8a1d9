// Makes a component of src/hello.js: the JavaScript engine, with the script loaded and its top level
// already run, as an export of `wasi:http` 0.2.
import { componentize } from "@bytecodealliance/componentize-js";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The engine is built against exactly this WASI, and the interfaces it is given must say the same.
// jco ships their text under a later number; between the two nothing but the number has changed.
const WASI_OF_ENGINE = "0.2.10";
const WASI_OF_JCO = "0.2.12";
const WASI_PACKAGES = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];

const here = dirname(fileURLToPath(import.meta.url));
const jco = dirname(dirname(createRequire(import.meta.url).resolve("@bytecodealliance/jco")));
const wit = join(here, "build", "wit");

await rm(wit, { recursive: true, force: true });
await mkdir(join(wit, "deps"), { recursive: true });
for (const name of WASI_PACKAGES) {
  const shipped = join(jco, "lib", "wit", "builtin", WASI_OF_JCO, `wasi-${name}`, "package.wit");
  const text = await readFile(shipped, "utf8");
  await writeFile(join(wit, "deps", `${name}.wit`), text.replaceAll(WASI_OF_JCO, WASI_OF_ENGINE));
}
await writeFile(
  join(wit, "function.wit"),
  `package holm:hello-js;\nworld function { include wasi:http/proxy@${WASI_OF_ENGINE}; }\n`,
);

const { component } = await componentize({
  sourcePath: join(here, "src", "hello.js"),
  witPath: wit,
  worldName: "function",
});
await writeFile(join(here, "build", "hello-js.wasm"), component);
console.log(`build/hello-js.wasm: ${component.length} bytes`);
