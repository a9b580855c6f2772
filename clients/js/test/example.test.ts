import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { createCanvas, loadImage } from "@napi-rs/canvas";

import { Feed } from "./feed.js";

test("the example draws the frame", { timeout: 30_000 }, async () => {
  const feed = await Feed.start();
  const folder = mkdtempSync(join(tmpdir(), "streamprn-"));
  try {
    const out = join(folder, "frame.png");
    const script = fileURLToPath(new URL("../../examples/draw.mjs", import.meta.url));
    const drawn = promisify(execFile)(process.execPath, [script, feed.endpoint, "cam1", out], {
      timeout: 20_000,
    });
    let running = true;
    void drawn.finally(() => (running = false)).catch(() => undefined);
    for (let seq = 0; running; seq += 1) {
      await feed.do(`publish ${seq}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const said = /frame\.png: frame (\d+), faces: 1/.exec((await drawn).stdout);
    assert.ok(said !== null);
    let sent = await feed.do("read image");
    while (sent["seq"] !== Number(said[1])) sent = await feed.do("read image");
    const picture = await loadImage(out);
    const [width, height] = sent["frame_size_wh"];
    assert.deepEqual([picture.width, picture.height], [width, height]);
    const canvas = createCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const rgb = [...data].filter((_, index) => index % 4 !== 3);
    const same = rgb.filter((value, index) => value === sent["image"][index]).length;
    assert.ok(same > rgb.length / 2, "the picture");
  } finally {
    rmSync(folder, { recursive: true });
    await feed.stop();
  }
});
