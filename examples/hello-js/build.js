// Makes a component of src/hello.js: the JavaScript engine, with the script loaded and its top level
// already run, as an export of `wasi:http` 0.2.
import { componentize } from "@bytecodealliance/componentize-js";
import { mkdir, writeFile } from "node:fs/promises";

const { component } = await componentize({
  sourcePath: "src/hello.js",
  witPath: "wit",
  worldName: "function",
});
await mkdir("build", { recursive: true });
await writeFile("build/hello-js.wasm", component);
console.log(`build/hello-js.wasm: ${component.length} bytes`);
