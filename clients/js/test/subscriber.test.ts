import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Publisher } from "zeromq";

import { Subscriber, type Kind, type Message, type Options } from "../src/index.js";
import { Feed, type Plain } from "./feed.js";

const LIMIT = { timeout: 30_000 };

async function next<K extends Kind>(subscriber: Subscriber, kind: K) {
  for (;;) {
    const message = await subscriber.receive(10);
    assert.ok(message !== null, `no ${kind} came: ${subscriber.counters.lastError}`);
    if (message.kind === kind) return message as Extract<Message, { kind: K }>;
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !condition(); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(condition());
}

/** Numbers within what a float32 loses, NaN as Python's side wrote it: null. */
function close(ours: ArrayLike<number>, theirs: readonly (number | null)[]): void {
  assert.equal(ours.length, theirs.length);
  theirs.forEach((value, index) => {
    const have = ours[index]!;
    if (value === null) assert.ok(Number.isNaN(have));
    else assert.ok(Math.abs(have - value) <= 1e-5 * Math.max(1, Math.abs(value)), `${have} ${value}`);
  });
}

/** What stands in every message about a frame. */
function sameFrame(ours: Extract<Message, { faces: unknown }>, theirs: Plain): void {
  assert.equal(ours.seq, theirs["seq"]);
  assert.equal(ours.run, theirs["run"]);
  assert.equal(ours.pts, BigInt(theirs["pts_ns"]));
  assert.deepEqual([ours.frameWidth, ours.frameHeight], theirs["frame_size_wh"]);
  assert.deepEqual(ours.spans, theirs["spans_ns"]);
  assert.ok(ours.stamps.wall > 1_600_000_000_000_000_000n);
  assert.equal(ours.faces.length, theirs["faces"].length);
  ours.faces.forEach((face, index) => {
    const other = theirs["faces"][index];
    assert.equal(face.id, other.id);
    close([face.score], [other.score]);
    close(face.box, other.box_xyxy);
    close([face.pose.yaw, face.pose.pitch, face.pose.roll, face.pose.scale],
      [other.pose.yaw, other.pose.pitch, other.pose.roll, other.pose.scale]);
    const { gaze, metric } = face;
    assert.ok(gaze !== null);
    for (const side of ["right", "left"] as const) {
      const { direction, yaw, pitch, openness } = gaze[side];
      const seen = other.gaze[side];
      close([...direction, yaw, pitch, openness],
        [...seen.direction, seen.yaw, seen.pitch, seen.openness]);
    }
    assert.ok(metric !== null);
    close([metric.yaw, metric.pitch, metric.roll, metric.mmPerUnit, metric.error],
      ["yaw", "pitch", "roll", "mm_per_unit", "error_px"].map((key) => other.metric_pose[key]));
    close([...metric.rotation.flat(), ...metric.quaternion],
      [...other.metric_pose.rotation, ...other.metric_pose.quaternion]);
    close([...metric.translation, ...metric.eyes],
      [...other.metric_pose.translation_mm, ...other.metric_pose.eyes_mm]);
    close(face.pose.rotation.flat(), other.pose.rotation);
    close(face.pose.translation, other.pose.translation);
    close(face.pose.quaternion, other.pose.quaternion);
    close(face.landmarks.flat(), other.landmarks);
    assert.deepEqual(face.visible, other.visible);
    assert.equal(face.blendshapes?.length, 52);
    close(face.blendshapes!, other.blendshapes);
  });
}

for (const format of ["float32", "int16"]) {
  describe(`messages of the real publisher, meshes in ${format}`, () => {
    let feed: Feed;
    let subscriber: Subscriber;
    before(async () => {
      feed = await Feed.start(format);
      await feed.do("topology");
      subscriber = new Subscriber(feed.endpoint, { topics: "cam1/", newest: false });
      await next(subscriber, "topology");
      await feed.do("publish 7");
    });
    after(async () => {
      subscriber.close();
      await feed.stop();
    });

    test("face, mesh, texture, depth and image read as Python reads them", LIMIT, async () => {
      sameFrame(await next(subscriber, "face"), await feed.do("read face"));
      const [mesh, meshes] = [await next(subscriber, "mesh"), await feed.do("read mesh")];
      sameFrame(mesh, meshes);
      assert.equal(mesh.vertices.get(1)!.length, 150);
      close(mesh.vertices.get(1)!, meshes["vertices"]["1"]);
      const [texture, textures] = [await next(subscriber, "texture"), await feed.do("read texture")];
      const { size, rgb } = texture.textures.get(1)!;
      assert.equal(rgb.length, size * size * 3);
      assert.deepEqual([...rgb], textures["textures"]["1"]);
      const [depth, depths] = [await next(subscriber, "depth"), await feed.do("read depth")];
      close(depth.depth!, depths["depth"]);
      const [image, images] = [await next(subscriber, "image"), await feed.do("read image")];
      assert.deepEqual([...image.rgb], images["image"]);
    });

    test("status and stats", LIMIT, async () => {
      await feed.do("failed");
      const status = await next(subscriber, "status");
      assert.equal(status.state, "failed");
      assert.equal(status.cause, "no route");
      assert.equal(status.attempt, 3);
      assert.equal(status.interval, 200_000_000n);
      await feed.do("stats");
      const { stats } = await next(subscriber, "stats");
      assert.deepEqual(stats, { fps: 29.5, engine: "facemesh", gpu: null });
    });

    test("the topology", LIMIT, async () => {
      const late = new Subscriber(feed.endpoint, { topics: "cam1/topology" });
      const [ours, theirs] = [await next(late, "topology"), await feed.do("read topology")];
      late.close();
      assert.equal(ours.name, theirs["name"]);
      assert.deepEqual(ours.blendshapes, theirs["blendshapes"]);
      for (const name of ["triangles", "texel", "landmarks", "mirror", "uv", "canonical"] as const) {
        close(ours[name], theirs[name]);
      }
      close(ours.poseWeights, theirs["pose_weights"]);
      assert.deepEqual([...ours.parts.keys()].sort(), Object.keys(theirs["parts"]).sort());
      for (const [name, mask] of ours.parts) {
        assert.deepEqual([...mask].map(Boolean), theirs["parts"][name]);
      }
    });
  });
}

test("of several waiting messages the newest comes, and gaps are counted", LIMIT, async () => {
  const feed = await Feed.start();
  const subscriber = new Subscriber(feed.endpoint, { topics: ["cam1/face", "cam1/mesh"] });
  try {
    // Its heartbeat is asked for last: where that comes, the topics are known too.
    await until(() => subscriber.liveness().state === "alive");
    for (const seq of [0, 1, 2, 5]) await feed.do(`publish ${seq}`);
    await until(() => subscriber.counters.received >= 8);
    const kinds = [(await subscriber.receive(5))!, (await subscriber.receive(5))!];
    assert.deepEqual(kinds.map(({ kind, seq }) => [kind, seq]), [["face", 5], ["mesh", 5]]);
    assert.equal(await subscriber.receive(0.05), null);
    assert.equal(subscriber.counters.stale, 6);
    assert.equal(subscriber.counters.gaps, 4);
  } finally {
    subscriber.close();
    await feed.stop();
  }
});

test("a publisher that lives, restarts, dies and ends", LIMIT, async () => {
  const feed = await Feed.start();
  const subscriber = new Subscriber(feed.endpoint, { topics: "cam1/face" });
  try {
    assert.equal(subscriber.liveness().state, "waiting");
    await until(() => subscriber.liveness().state === "alive");
    const { run } = subscriber.liveness();
    await feed.do("restart");
    await until(() => subscriber.liveness().restarts === 1);
    assert.notEqual(subscriber.liveness().run, run);
    await feed.do("close");
    await until(() => subscriber.liveness().state === "ended");
    await feed.do("restart");
    await until(() => subscriber.liveness().state === "alive");
    await feed.stop();
    await until(() => subscriber.liveness().state === "silent");
    assert.ok(subscriber.liveness().silent > 0.3);
  } finally {
    subscriber.close();
    await feed.stop();
  }
});

test("the publisher names its streams", LIMIT, async () => {
  const feed = await Feed.start();
  const subscriber = new Subscriber(feed.endpoint, { topics: "_publisher/status" });
  try {
    await feed.do("failed");
    let status = await next(subscriber, "status");
    while (!status.streams?.includes("cam1")) status = await next(subscriber, "status");
    assert.equal(status.stream, "_publisher");
  } finally {
    subscriber.close();
    await feed.stop();
  }
});

test("closing ends the iteration", LIMIT, async () => {
  const subscriber = new Subscriber("tcp://127.0.0.1:9", { topics: "cam1/face" });
  setTimeout(() => subscriber.close(), 50);
  for await (const message of subscriber) assert.fail(message.kind);
});

describe("encryption", () => {
  async function first(options: (key: string) => Options, seconds: number): Promise<string | undefined> {
    const feed = await Feed.start("float32", true);
    const subscriber = new Subscriber(feed.endpoint, { topics: "cam1/", ...options(feed.key!) });
    try {
      await feed.do("failed");
      return (await subscriber.receive(seconds))?.kind;
    } finally {
      subscriber.close();
      await feed.stop();
    }
  }
  test("with the publisher's key", LIMIT, async () => {
    assert.equal(await first((serverKey) => ({ serverKey }), 10), "status");
  });
  test("without it nothing comes", LIMIT, async () => {
    assert.equal(await first(() => ({}), 2), undefined);
  });
});

test("what does not follow the format is counted and skipped", LIMIT, async () => {
  const publisher = new Publisher();
  await publisher.bind("tcp://127.0.0.1:*");
  const subscriber = new Subscriber(publisher.lastEndpoint!, { topics: "cam1/" });
  const nonsense: (string | Buffer)[][] = [
    ["cam1/face"],
    ["cam1/face", "\xc1"],
    ["cam1/face", Buffer.from([0x80])],
    ["cam1/FACE", Buffer.from([0x80])],
    ["cam1/face", Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ["cam1/status", Buffer.from("83a17601a673747265616da463616d31a373657100", "hex")],
  ];
  try {
    await until(() => {
      void publisher.send(["cam1/status"]);
      return subscriber.counters.errors > 0;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = subscriber.counters.errors;
    for (const parts of nonsense) await publisher.send(parts);
    assert.equal(await subscriber.receive(1), null);
    assert.equal(subscriber.counters.errors, before + nonsense.length);
    assert.match(subscriber.counters.lastError, /'state' is no text/);
  } finally {
    subscriber.close();
    publisher.close();
  }
});
