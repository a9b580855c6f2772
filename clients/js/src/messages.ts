/**
 * What a subscriber gets: one type for each kind of message, told apart by `kind`.
 *
 * Times are nanoseconds. Coordinates are pixels of the frame: x right, y down, pixel centres at
 * integers, z towards the camera. See docs/wire-format.md.
 */

export const KINDS = [
  "face",
  "mesh",
  "depth",
  "texture",
  "image",
  "topology",
  "status",
  "stats",
] as const;
export type Kind = (typeof KINDS)[number];

export type Vector3 = readonly [number, number, number];

/** Nanoseconds of the publisher's monotonic clock, 0 where one does not apply; `wall` is Unix time. */
export interface Stamps {
  readonly captured: bigint;
  readonly decoded: bigint;
  readonly tracked: bigint;
  readonly inferred: bigint;
  readonly published: bigint;
  readonly wall: bigint;
}

/** The square that the network saw: centre and side in pixels, roll in radians, clockwise. */
export interface Roi {
  readonly cx: number;
  readonly cy: number;
  readonly side: number;
  readonly roll: number;
}

/** Weak-perspective pose; yaw, pitch and roll in degrees, signs as in AFLW2000-3D. */
export interface Pose {
  /** Rows of a proper rotation matrix. */
  readonly rotation: readonly [Vector3, Vector3, Vector3];
  /** Frame pixels per canonical unit. */
  readonly scale: number;
  readonly translation: Vector3;
  readonly yaw: number;
  readonly pitch: number;
  readonly roll: number;
  /** w, x, y, z. */
  readonly quaternion: readonly [number, number, number, number];
}

/** The pose in the frame of the camera: x right, y down, z away from it, millimetres. */
export interface MetricPose {
  /** Rows of a proper rotation matrix; the identity looks along the optical axis at the camera. */
  readonly rotation: readonly [Vector3, Vector3, Vector3];
  /** The origin of the canonical shape. */
  readonly translation: Vector3;
  /** The middle between the eyes. */
  readonly eyes: Vector3;
  readonly mmPerUnit: number;
  /** Degrees, as are pitch and roll. */
  readonly yaw: number;
  readonly pitch: number;
  readonly roll: number;
  /** w, x, y, z. */
  readonly quaternion: readonly [number, number, number, number];
  /** RMS distance of the vertices from where this pose puts them, pixels. */
  readonly error: number;
}

/** Where one eye looks. */
export interface Eye {
  /** Unit vector: x right, y up, z towards the camera. */
  readonly direction: Vector3;
  /** Degrees, as is pitch. */
  readonly yaw: number;
  readonly pitch: number;
  /** Height over width of the eye's opening. */
  readonly openness: number;
}

/** Where the eyes look; left and right are the subject's. */
export interface Gaze {
  readonly right: Eye;
  readonly left: Eye;
}

export interface Face {
  /** Stable while the face is tracked. */
  readonly id: number;
  /** Probability that the mesh lies on the face, NaN where the engine gives none. */
  readonly score: number;
  /** x0, y0, x1, y1. */
  readonly box: readonly [number, number, number, number];
  readonly roi: Roi;
  readonly pose: Pose;
  /** 68 points in the iBUG (300-W) order. */
  readonly landmarks: readonly Vector3[];
  /** Which landmarks the camera sees; null where that was not computed. */
  readonly visible: readonly boolean[] | null;
  /** 52 coefficients in the order of the topology's names; null where nobody asked for them. */
  readonly blendshapes: readonly number[] | null;
  /** null where nobody asked for it (`<stream>/gaze`), or the engine finds no irises. */
  readonly gaze: Gaze | null;
  /** null where the publisher knows no camera. */
  readonly metric: MetricPose | null;
}

interface Base {
  readonly stream: string;
  /** Names the run of the publisher; another one after it started again. */
  readonly run: string;
  /** Number of the frame in its stream, or of the message where it is not about a frame. */
  readonly seq: number;
  readonly stamps: Stamps;
}

interface OfFrame extends Base {
  /** The frame's time within its source, nanoseconds. */
  readonly pts: bigint | null;
  readonly frameWidth: number;
  readonly frameHeight: number;
  readonly faces: readonly Face[];
  /** Nanoseconds spent in each stage. */
  readonly spans: Readonly<Record<string, number>>;
}

export interface FaceMessage extends OfFrame {
  readonly kind: "face";
}

/** All vertices: face id to x, y, z, x, y, z, ... */
export interface MeshMessage extends OfFrame {
  readonly kind: "mesh";
  readonly vertices: ReadonlyMap<number, Float32Array>;
}

/** z of the nearest face, row by row, NaN where none; null without faces. */
export interface DepthMessage extends OfFrame {
  readonly kind: "depth";
  readonly depth: Float32Array | null;
}

/** Face id to a square of RGB pixels in the UV layout, row 0 on top. */
export interface TextureMessage extends OfFrame {
  readonly kind: "texture";
  readonly textures: ReadonlyMap<number, { readonly size: number; readonly rgb: Uint8Array }>;
}

/** The frame: RGB, row by row. */
export interface ImageMessage extends OfFrame {
  readonly kind: "image";
  readonly rgb: Uint8Array;
}

export type SourceState =
  | "connecting"
  | "live"
  | "stalled"
  | "reconnecting"
  | "paused"
  | "ended"
  | "failed";

export interface StatusMessage extends Base {
  readonly kind: "status";
  /** A text to show where it is none of `SourceState`: a later publisher may know more. */
  readonly state: SourceState | (string & {});
  readonly cause: string;
  readonly attempt: number;
  /** The next message of this topic comes within so many nanoseconds; 0: none is promised. */
  readonly interval: bigint;
  /** Nanoseconds since the last published frame was captured. */
  readonly frameAge: bigint | null;
  readonly frameSeq: number | null;
  /** Of `_publisher/status`: the streams that there are; null elsewhere. */
  readonly streams: readonly string[] | null;
}

export interface StatsMessage extends Base {
  readonly kind: "stats";
  readonly stats: Readonly<Record<string, string | number | bigint | boolean | null>>;
}

/** The fixed meaning of the vertices. */
export interface TopologyMessage extends Base {
  readonly kind: "topology";
  readonly name: string;
  readonly uvSize: number;
  readonly vertices: number;
  readonly licence: string;
  readonly provenance: string;
  /** Names of a face's `blendshapes`. */
  readonly blendshapes: readonly string[];
  /** Three vertex indices each. */
  readonly triangles: Uint32Array;
  /** u right, v up, 0..1. */
  readonly uv: Float32Array;
  /** Place of each vertex in the position map, row * uvSize + column. */
  readonly texel: Uint32Array;
  /** Rest shape: x, y (up), z of each vertex. */
  readonly canonical: Float32Array;
  /** The vertices that are the 68 landmarks. */
  readonly landmarks: Uint32Array;
  readonly poseWeights: Float32Array;
  readonly mirror: Uint32Array;
  /** 1 where a vertex belongs to `eyes`, `nose`, `lips`, ... */
  readonly parts: ReadonlyMap<string, Uint8Array>;
}

export type Message =
  | FaceMessage
  | MeshMessage
  | DepthMessage
  | TextureMessage
  | ImageMessage
  | StatusMessage
  | StatsMessage
  | TopologyMessage;
