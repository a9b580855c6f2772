import { Subscriber as Socket, curveKeyPair } from "zeromq";

import { Opened, isKind } from "./decode.js";
import { WireError } from "./errors.js";
import { SignsOfLife, type Liveness } from "./liveness.js";
import type { Message } from "./messages.js";

const HEARTBEAT = "_publisher/status";
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
const MAX_PARTS = 4096;
const MAX_TOPICS = 4096;

export interface Options {
  /** Prefixes of `<stream>/<kind>`; the empty one, which is the default, is everything. */
  readonly topics?: string | readonly string[];
  /** Skip to the newest message of each stream and kind where several wait (the default). */
  readonly newest?: boolean;
  /** Messages that wait in this process before the publisher's queue fills; 32. */
  readonly receiveHwm?: number;
  /** The publisher's public CURVE key, 40 characters, where it encrypts. */
  readonly serverKey?: string;
  /** Our own key pair, where the publisher lists its clients; else a new one is made. */
  readonly clientKeys?: { readonly publicKey: string; readonly secretKey: string };
}

/** What a subscriber saw. */
export interface Counters {
  /** Messages taken from the socket. */
  received: number;
  /** Messages that never came, by `seq`. */
  gaps: number;
  /** Messages skipped because a newer one of the same topic was there. */
  stale: number;
  /** Messages that did not follow the wire format. */
  errors: number;
  /** Messages of kinds that this version does not know. */
  ignored: number;
  /** The latest reason for `errors`. */
  lastError: string;
}

/**
 * An asynchronous iterator of messages.
 *
 *     const subscriber = new Subscriber("tcp://127.0.0.1:5870", { topics: "cam1/face" });
 *     for await (const message of subscriber) console.log(message.seq, message.faces.length);
 *
 * The publisher may start later, and start again. Besides `topics` it asks for the publisher's
 * heartbeat, so that `liveness()` can tell a street without faces from a publisher that is gone.
 */
export class Subscriber implements AsyncIterable<Message> {
  readonly counters: Counters = { received: 0, gaps: 0, stale: 0, errors: 0, ignored: 0, lastError: "" };
  private readonly socket: Socket;
  private readonly newest: boolean;
  private readonly heartbeatAsked: boolean;
  private readonly heard = new SignsOfLife();
  private readonly seen = new Map<string, number>();
  private readonly pending: Opened[] = [];
  private wake: (() => void) | null = null;
  private room: (() => void) | null = null;
  private readonly hwm: number;

  /** @throws Error the endpoint or a key is malformed. */
  constructor(endpoint: string, options: Options = {}) {
    const topics = [options.topics ?? ""].flat();
    this.newest = options.newest ?? true;
    this.hwm = options.receiveHwm ?? 32;
    this.heartbeatAsked = topics.some((topic) => topic !== "" && HEARTBEAT.startsWith(topic));
    this.socket = new Socket({
      receiveHighWaterMark: this.hwm,
      maxMessageSize: MAX_MESSAGE_BYTES,
      linger: 0,
      reconnectInterval: 100,
      reconnectMaxInterval: 2000,
      ipv6: endpoint.includes("["),
      ...curve(options),
    });
    this.socket.subscribe(...topics, HEARTBEAT);
    this.socket.connect(endpoint);
    void this.readOn();
  }

  /** Ask for one more prefix. */
  subscribe(topic: string): void {
    this.socket.subscribe(topic);
  }

  /** Take back what was asked for; messages under way still come. */
  unsubscribe(topic: string): void {
    this.socket.unsubscribe(topic);
  }

  /** Whether the publisher gives signs of life. */
  liveness(): Liveness {
    return this.heard.liveness(performance.now());
  }

  /** Leave; iteration ends. */
  close(): void {
    this.socket.close();
    this.wake?.();
    this.room?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Message, void, undefined> {
    for (;;) {
      const message = await this.receive();
      if (message === null) return;
      yield message;
    }
  }

  /** The next message; null where none came within so many seconds, or the subscriber is closed. */
  async receive(timeout: number = Infinity): Promise<Message | null> {
    const deadline = performance.now() + timeout * 1000;
    for (;;) {
      const message = this.take();
      if (message !== null) return message;
      const left = deadline - performance.now();
      if (this.socket.closed || left <= 0) return null;
      await this.woken(left);
    }
  }

  private take(): Message | null {
    for (let opened = this.pending.shift(); opened !== undefined; opened = this.pending.shift()) {
      this.room?.();
      try {
        return opened.message();
      } catch (error) {
        this.reject(error);
      }
    }
    return null;
  }

  private woken(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      // Longer waits than Node's timers know are waits for ever.
      const timer = milliseconds < 2 ** 31 ? setTimeout(resolve, milliseconds) : undefined;
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Keep the newest of each topic, or, one by one, no more than the queue holds. */
  private async readOn(): Promise<void> {
    while (!this.socket.closed) {
      let parts: Buffer[];
      try {
        parts = await this.socket.receive();
      } catch {
        break; // closed
      }
      this.counters.received += 1;
      try {
        this.keep(parts);
      } catch (error) {
        this.reject(error);
      }
      while (!this.newest && this.pending.length >= this.hwm && !this.socket.closed) {
        await new Promise<void>((resolve) => (this.room = resolve));
      }
    }
    this.wake?.();
  }

  private keep(parts: readonly Buffer[]): void {
    if (parts.length > MAX_PARTS) throw new WireError(`message of ${parts.length} parts`);
    const opened = new Opened(parts);
    const topic = `${opened.stream}/${opened.kind}`;
    if (!isKind(opened.kind)) {
      this.counters.ignored += 1;
      return;
    }
    if (this.heard.note(opened.run, performance.now())) this.seen.clear();
    if (topic === HEARTBEAT && this.hear(opened)) return;
    this.count(topic, opened.seq);
    const place = this.newest
      ? this.pending.findIndex((other) => other.stream === opened.stream && other.kind === opened.kind)
      : -1;
    if (place >= 0) {
      this.counters.stale += 1;
      this.pending[place] = opened;
    } else {
      if (this.pending.length >= MAX_TOPICS) this.pending.shift();
      this.pending.push(opened);
    }
    this.wake?.();
  }

  /** Take in a heartbeat; whether nobody asked to see it. */
  private hear(opened: Opened): boolean {
    const message = opened.message();
    if (message.kind === "status") this.heard.beat(message);
    if (!this.heartbeatAsked) this.counters.received -= 1;
    return !this.heartbeatAsked;
  }

  private count(topic: string, seq: number): void {
    const last = this.seen.get(topic);
    if (last !== undefined) this.counters.gaps += Math.max(0, seq - last - 1);
    this.seen.delete(topic);
    this.seen.set(topic, seq);
    if (this.seen.size > MAX_TOPICS) this.seen.delete(this.seen.keys().next().value!);
  }

  private reject(error: unknown): void {
    if (!(error instanceof WireError)) throw error;
    this.counters.errors += 1;
    this.counters.lastError = error.message;
  }
}

function curve(options: Options) {
  if (options.serverKey === undefined) return {};
  const keys = options.clientKeys ?? curveKeyPair();
  return {
    curveServerKey: options.serverKey,
    curvePublicKey: keys.publicKey,
    curveSecretKey: keys.secretKey,
  };
}
