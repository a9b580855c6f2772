export { VERSION, decode } from "./decode.js";
export { WireError } from "./errors.js";
export type { Life, Liveness } from "./liveness.js";
export * from "./messages.js";
export { Subscriber, type Counters, type Options } from "./subscriber.js";
