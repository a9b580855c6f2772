/** Reading a header's map key by key, trusting nothing that came over the network. */
import { WireError } from "./errors.js";

export class Fields {
  private constructor(private readonly map: Readonly<Record<string, unknown>>) {}

  static of(value: unknown, what: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new WireError(`${what} is no map`);
    }
    return new Fields(value as Record<string, unknown>);
  }

  has(key: string): boolean {
    const value = this.map[key];
    return value !== undefined && value !== null;
  }

  text(key: string, otherwise?: string): string {
    const value = this.map[key] ?? otherwise;
    if (typeof value !== "string") throw new WireError(`'${key}' is no text`);
    return value;
  }

  number(key: string, otherwise?: number): number {
    const value = this.map[key] ?? otherwise;
    if (typeof value !== "number" && typeof value !== "bigint") {
      throw new WireError(`'${key}' is no number`);
    }
    return Number(value);
  }

  /** An integer of at least 0. */
  count(key: string, otherwise?: number): number {
    const value = this.number(key, otherwise);
    if (!Number.isSafeInteger(value) || value < 0) throw new WireError(`'${key}' is no count`);
    return value;
  }

  nanoseconds(key: string): bigint {
    const value = this.map[key] ?? 0;
    if (typeof value === "bigint") return value;
    if (Number.isInteger(value)) return BigInt(value as number);
    throw new WireError(`'${key}' is no time`);
  }

  submap(key: string): Fields {
    return Fields.of(this.map[key] ?? {}, `'${key}'`);
  }

  list(key: string): readonly unknown[] {
    return listOf(this.map[key] ?? [], `'${key}'`);
  }

  maps(key: string): readonly Fields[] {
    return this.list(key).map((item) => Fields.of(item, `an item of '${key}'`));
  }

  texts(key: string): readonly string[] {
    const values = this.list(key);
    if (values.some((value) => typeof value !== "string")) {
      throw new WireError(`'${key}' has items that are no texts`);
    }
    return values as string[];
  }

  numbers(key: string, length?: number): readonly number[] {
    return numbersOf(this.list(key), `'${key}'`, length);
  }

  entries(): readonly (readonly [string, unknown])[] {
    return Object.entries(this.map);
  }
}

export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new WireError(`${what} is no list`);
  return value;
}

export function numbersOf(value: unknown, what: string, length?: number): readonly number[] {
  const values = listOf(value, what);
  if (length !== undefined && values.length !== length) {
    throw new WireError(`${what} has ${values.length} numbers, expected ${length}`);
  }
  return values.map((item) => {
    if (typeof item !== "number" && typeof item !== "bigint") {
      throw new WireError(`${what} has items that are no numbers`);
    }
    return Number(item);
  });
}
