/** Message parts to typed messages. */
import { decode as unpack } from "@msgpack/msgpack";

import {
  bytes,
  checkShape,
  floats,
  indices,
  need,
  readArrays,
  vertices,
  type NamedArray,
} from "./arrays.js";
import { WireError } from "./errors.js";
import { Fields, listOf, numbersOf } from "./fields.js";
import {
  KINDS,
  type Eye,
  type Face,
  type Gaze,
  type Kind,
  type Message,
  type MetricPose,
  type Pose,
  type Stamps,
  type Vector3,
} from "./messages.js";

/** The version of the wire format that this reader knows. */
export const VERSION = 1;

const TOPIC = /^([A-Za-z0-9_.-]{1,64})\/([a-z]{1,32})$/;
/** A header says how many items its lists have before they are read: these are more than enough. */
const LIMITS = { maxStrLength: 1 << 20, maxBinLength: 1 << 20, maxArrayLength: 1 << 16, maxMapLength: 4096 };

/** The stream and the kind of a topic; the kind may be one that this version does not know. */
export function parseTopic(topic: string): readonly [stream: string, kind: string] {
  const match = TOPIC.exec(topic);
  if (match === null) throw new WireError("a topic that is not <stream>/<kind>");
  return [match[1]!, match[2]!];
}

export function isKind(kind: string): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}

/** What of a header decides whether a message is worth decoding. */
export interface Envelope {
  readonly stream: string;
  readonly kind: string;
  readonly seq: number;
  readonly run: string;
}

/** A message whose header is read and whose arrays are not. */
export class Opened implements Envelope {
  readonly stream: string;
  readonly kind: string;
  readonly seq: number;
  readonly run: string;
  private readonly header: Fields;
  private readonly parts: readonly Uint8Array[];

  /** @throws WireError the parts do not follow the format. */
  constructor(parts: readonly Uint8Array[]) {
    const [topic, packed, ...arrays] = parts;
    if (topic === undefined || packed === undefined) {
      throw new WireError(`message of ${parts.length} parts, expected a topic and a header at least`);
    }
    [this.stream, this.kind] = parseTopic(Buffer.from(topic).toString("latin1"));
    this.header = Fields.of(unpackHeader(packed), "the header");
    const version = this.header.number("v");
    if (version !== VERSION) {
      throw new WireError(`wire format version ${version}, this reader knows ${VERSION}`);
    }
    if (this.header.text("stream") !== this.stream) {
      throw new WireError(`header of another stream under the topic of '${this.stream}'`);
    }
    this.seq = this.header.count("seq");
    this.run = this.header.text("run", "");
    this.parts = arrays;
  }

  /** @throws WireError the message does not follow the format, or the kind is unknown. */
  message(): Message {
    if (!isKind(this.kind)) throw new WireError(`unknown kind '${this.kind}'`);
    const base = {
      stream: this.stream,
      run: this.run,
      seq: this.seq,
      stamps: stamps(this.header.submap("stamps")),
    };
    return BUILDERS[this.kind](base, this.header, readArrays(this.header.maps("arrays"), this.parts));
  }
}

/**
 * One message from its parts: topic, header, arrays. Its arrays are views of these where they can be.
 *
 * @throws WireError the parts do not follow the format, or the kind is unknown.
 */
export function decode(parts: readonly Uint8Array[]): Message {
  return new Opened(parts).message();
}

function unpackHeader(packed: Uint8Array): unknown {
  try {
    return unpack(packed, { useBigInt64: true, ...LIMITS });
  } catch (error) {
    throw new WireError(`header cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

type Base = { stream: string; run: string; seq: number; stamps: Stamps };
type Builder = (base: Base, header: Fields, arrays: readonly NamedArray[]) => Message;

const BUILDERS: Readonly<Record<Kind, Builder>> = {
  face: (base, header) => ({ kind: "face", ...base, ...frame(header) }),
  mesh: (base, header, arrays) => ({
    kind: "mesh",
    ...base,
    ...frame(header),
    vertices: new Map(ofFaces(arrays, "vertices").map(([id, array]) => [id, vertices(array)])),
  }),
  depth: (base, header, arrays) => ({
    kind: "depth",
    ...base,
    ...frame(header),
    depth: arrays.length === 0 ? null : floats(need(arrays, "depth", null, null)),
  }),
  texture: (base, header, arrays) => ({
    kind: "texture",
    ...base,
    ...frame(header),
    textures: new Map(ofFaces(arrays, "texture").map(([id, array]) => [id, texture(array)])),
  }),
  image: (base, header, arrays) => ({
    kind: "image",
    ...base,
    ...frame(header),
    rgb: bytes(need(arrays, "image", null, null, 3)),
  }),
  status: (base, header) => ({ kind: "status", ...base, ...status(header.submap("status")) }),
  stats: (base, header) => ({ kind: "stats", ...base, stats: stats(header.submap("stats")) }),
  topology: (base, header, arrays) => ({
    kind: "topology",
    ...base,
    ...topology(header.submap("topology"), arrays),
  }),
};

function stamps(fields: Fields): Stamps {
  return {
    captured: fields.nanoseconds("captured"),
    decoded: fields.nanoseconds("decoded"),
    tracked: fields.nanoseconds("tracked"),
    inferred: fields.nanoseconds("inferred"),
    published: fields.nanoseconds("published"),
    wall: fields.nanoseconds("wall"),
  };
}

function frame(header: Fields) {
  const spans = header.submap("spans");
  return {
    pts: header.has("pts") ? header.nanoseconds("pts") : null,
    frameWidth: header.count("frame_w", 0),
    frameHeight: header.count("frame_h", 0),
    faces: header.maps("faces").map(face),
    spans: Object.fromEntries(spans.entries().map(([name]) => [name, spans.number(name)])),
  };
}

function face(fields: Fields): Face {
  const roi = fields.submap("roi");
  return {
    id: fields.number("id"),
    score: fields.number("score"),
    box: fields.numbers("box", 4) as Face["box"],
    roi: { cx: roi.number("cx"), cy: roi.number("cy"), side: roi.number("side"), roll: roi.number("roll") },
    pose: pose(fields.submap("pose")),
    landmarks: fields.list("landmarks").map((point) => vector(point, "a landmark")),
    visible: fields.has("visible") ? fields.list("visible").map((value) => value === true) : null,
    blendshapes: fields.has("blendshapes") ? fields.numbers("blendshapes") : null,
    gaze: fields.has("gaze") ? gaze(fields.submap("gaze")) : null,
    metric: fields.has("metric") ? metric(fields.submap("metric")) : null,
  };
}

function pose(fields: Fields): Pose {
  return {
    ...turn(fields),
    scale: fields.number("scale"),
    translation: vector(fields.list("translation"), "'translation'"),
  };
}

function metric(fields: Fields): MetricPose {
  return {
    ...turn(fields),
    translation: vector(fields.list("translation"), "'translation'"),
    eyes: vector(fields.list("eyes"), "'eyes'"),
    mmPerUnit: fields.number("mm_per_unit"),
    error: fields.number("error"),
  };
}

function gaze(fields: Fields): Gaze {
  return { right: eye(fields.submap("right")), left: eye(fields.submap("left")) };
}

function eye(fields: Fields): Eye {
  return {
    direction: vector(fields.list("direction"), "'direction'"),
    yaw: fields.number("yaw"),
    pitch: fields.number("pitch"),
    openness: fields.number("openness"),
  };
}

function turn(fields: Fields) {
  const rows = listOf(fields.list("rotation"), "'rotation'");
  if (rows.length !== 3) throw new WireError(`'rotation' has ${rows.length} rows`);
  return {
    rotation: rows.map((row) => vector(row, "a row of 'rotation'")) as unknown as Pose["rotation"],
    yaw: fields.number("yaw"),
    pitch: fields.number("pitch"),
    roll: fields.number("roll"),
    quaternion: fields.numbers("quaternion", 4) as Pose["quaternion"],
  };
}

function vector(value: unknown, what: string): Vector3 {
  return numbersOf(value, what, 3) as unknown as Vector3;
}

function ofFaces(arrays: readonly NamedArray[], name: string): [number, NamedArray][] {
  const found: [number, NamedArray][] = [];
  for (const array of arrays) {
    if (array.name === name && array.face !== null) found.push([array.face, array]);
  }
  return found;
}

function texture(array: NamedArray) {
  checkShape(array, null, array.shape[0] ?? null, 3);
  return { size: array.shape[0]!, rgb: bytes(array) };
}

function status(fields: Fields) {
  return {
    state: fields.text("state"),
    cause: fields.text("cause", ""),
    attempt: fields.number("attempt", 0),
    interval: fields.nanoseconds("interval"),
    frameAge: fields.has("frame_age") ? fields.nanoseconds("frame_age") : null,
    frameSeq: fields.has("frame_seq") ? fields.number("frame_seq") : null,
    streams: fields.has("streams") ? fields.texts("streams") : null,
  };
}

function stats(fields: Fields) {
  const scalars = fields.entries().filter(([, value]) => typeof value !== "object" || value === null);
  return Object.fromEntries(scalars) as Record<string, string | number | bigint | boolean | null>;
}

function topology(fields: Fields, arrays: readonly NamedArray[]) {
  const count = fields.count("vertices");
  const uvSize = fields.count("uv_size");
  const parts = arrays.filter((array) => array.name.startsWith("part:"));
  return {
    name: fields.text("name"),
    uvSize,
    vertices: count,
    licence: fields.text("licence", ""),
    provenance: fields.text("provenance", ""),
    blendshapes: fields.texts("blendshapes"),
    triangles: indices(need(arrays, "triangles", null, 3), count),
    uv: floats(need(arrays, "uv", count, 2)),
    texel: indices(need(arrays, "texel", count), uvSize * uvSize),
    canonical: floats(need(arrays, "canonical", count, 3)),
    landmarks: indices(need(arrays, "landmarks", null), count),
    poseWeights: floats(need(arrays, "pose_weights", count)),
    mirror: indices(need(arrays, "mirror", count), count),
    parts: new Map(
      parts.map((part) => [part.name.slice("part:".length), bytes(checkShape(part, count))]),
    ),
  };
}
