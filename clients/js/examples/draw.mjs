// Draw the next frame of a stream with its landmarks: node examples/draw.mjs ENDPOINT STREAM OUT.png
import { writeFileSync } from "node:fs";

import { ImageData, createCanvas } from "@napi-rs/canvas";
import { Subscriber } from "streamprn-client";

const [endpoint, stream, out] = process.argv.slice(2);
if (out === undefined) {
  console.error("usage: node examples/draw.mjs tcp://127.0.0.1:5870 STREAM OUT.png");
  process.exit(2);
}
const subscriber = new Subscriber(endpoint, { topics: `${stream}/image` });
for await (const message of subscriber) {
  if (message.kind !== "image") continue;
  const { frameWidth: width, frameHeight: height, rgb, faces } = message;
  const canvas = createCanvas(width, height);
  const context = canvas.getContext("2d");
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i += 1) rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  context.fillStyle = "lime";
  for (const { landmarks } of faces) {
    for (const [x, y] of landmarks) context.fillRect(x - 1, y - 1, 2, 2);
  }
  writeFileSync(out, canvas.toBuffer("image/png"));
  console.log(`${out}: frame ${message.seq}, faces: ${faces.map(({ id }) => id).join(" ")}`);
  break;
}
subscriber.close();
