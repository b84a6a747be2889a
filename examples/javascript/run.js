// node run.js WEIGHTS FRAME.json...: print the hands of each frame as JSON, one line a frame.
// WEIGHTS is crossnets/weights. FRAME.json holds width, height, camera {fx, fy, cx, cy} and
// depth, the name of a file beside it with 16-bit little-endian depths in mm.
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-web";
import { load, predict } from "./hands.js";

const [weights, ...framePaths] = process.argv.slice(2);
if (!framePaths.length) {
  console.error("usage: node run.js WEIGHTS FRAME.json...");
  process.exit(2);
}
ort.env.wasm.numThreads = 1;
const model = await load(
  ort,
  await readFile(join(weights, "detector.onnx")),
  await readFile(join(weights, "model.onnx")),
  JSON.parse(await readFile(join(weights, "config.json"), "utf8")),
);
for (const framePath of framePaths) {
  const frame = JSON.parse(await readFile(framePath, "utf8"));
  const bytes = await readFile(join(dirname(framePath), frame.depth));
  const depth = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  if (depth.length !== frame.width * frame.height) {
    console.error(`${frame.depth} holds ${depth.length} pixels, expected ${frame.width} x ${frame.height}.`);
    process.exit(2);
  }
  console.log(JSON.stringify(await predict(model, { ...frame, depth }, frame.camera)));
}
