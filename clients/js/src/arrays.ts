/** The arrays of a message: little-endian, as are all processors that Node runs on but s390x. */
import { WireError } from "./errors.js";
import type { Fields } from "./fields.js";

const TYPES = {
  "<f4": Float32Array,
  "<i2": Int16Array,
  "<u2": Uint16Array,
  "<u4": Uint32Array,
  "|u1": Uint8Array,
} as const;

export type Values = Float32Array | Int16Array | Uint16Array | Uint32Array | Uint8Array;

export interface NamedArray {
  readonly name: string;
  readonly face: number | null;
  readonly shape: readonly number[];
  readonly values: Values;
  /** Of each place of the last axis, where the values are quantised. */
  readonly scale: readonly number[] | null;
  readonly offset: readonly number[] | null;
}

/** The arrays that this reader has types for; others it leaves out, as the format asks. */
export function readArrays(described: readonly Fields[], parts: readonly Uint8Array[]): NamedArray[] {
  if (described.length !== parts.length) {
    throw new WireError(`${described.length} arrays announced, ${parts.length} sent`);
  }
  const arrays = described.map((fields, index) => readArray(fields, parts[index]!));
  return arrays.filter((array) => array !== null);
}

function readArray(fields: Fields, part: Uint8Array): NamedArray | null {
  const name = fields.text("name");
  const type = fields.text("dtype");
  if (!(type in TYPES)) return null;
  const Type = TYPES[type as keyof typeof TYPES];
  const shape = fields.numbers("shape");
  const length = shape.reduce((product, axis) => product * axis, 1);
  if (length * Type.BYTES_PER_ELEMENT !== part.byteLength) {
    throw new WireError(`array '${name}': ${part.byteLength} bytes do not fit ${type} [${shape}]`);
  }
  // Typed arrays want their place in memory to be a multiple of the size of an element.
  const aligned = part.byteOffset % Type.BYTES_PER_ELEMENT === 0 ? part : Uint8Array.from(part);
  return {
    name,
    face: fields.has("face") ? fields.number("face") : null,
    shape,
    values: new Type(aligned.buffer as ArrayBuffer, aligned.byteOffset, length),
    scale: fields.has("scale") ? fields.numbers("scale", 3) : null,
    offset: fields.has("offset") ? fields.numbers("offset", 3) : null,
  };
}

/** The array of a name, of the given shape (null: any length). */
export function need(
  arrays: readonly NamedArray[],
  name: string,
  ...shape: (number | null)[]
): NamedArray {
  const array = arrays.find((candidate) => candidate.name === name);
  if (array === undefined) throw new WireError(`array '${name}' is missing`);
  return checkShape(array, ...shape);
}

export function checkShape(array: NamedArray, ...shape: (number | null)[]): NamedArray {
  const fits =
    array.shape.length === shape.length &&
    shape.every((axis, index) => axis === null || axis === array.shape[index]);
  if (!fits) throw new WireError(`array '${array.name}' has the shape [${array.shape}]`);
  return array;
}

export function floats(array: NamedArray): Float32Array {
  if (array.values instanceof Float32Array) return array.values;
  throw new WireError(`array '${array.name}' is not of float32`);
}

export function bytes(array: NamedArray): Uint8Array {
  if (array.values instanceof Uint8Array) return array.values;
  throw new WireError(`array '${array.name}' is not of uint8`);
}

/** Indices below `limit`, whatever integers they travelled as. */
export function indices(array: NamedArray, limit: number): Uint32Array {
  if (!(array.values instanceof Uint16Array || array.values instanceof Uint32Array)) {
    throw new WireError(`array '${array.name}' has no indices`);
  }
  if (array.values.some((index) => index >= limit)) {
    throw new WireError(`array '${array.name}' points outside 0..${limit - 1}`);
  }
  return Uint32Array.from(array.values);
}

/** Vertices, x, y, z of each, as they are or from 16 bits. */
export function vertices(array: NamedArray): Float32Array {
  checkShape(array, null, 3);
  const { scale, offset, values } = array;
  if (scale === null || offset === null) return floats(array);
  if (!(values instanceof Int16Array)) {
    throw new WireError(`array '${array.name}' is quantised, and not of int16`);
  }
  return Float32Array.from(values, (q, index) => scale[index % 3]! * q + offset[index % 3]!);
}
