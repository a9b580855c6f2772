/** Whether a publisher lives, as its subscribers can tell. */
import type { StatusMessage } from "./messages.js";

export type Life = "waiting" | "alive" | "silent" | "ended";

export interface Liveness {
  /** `waiting` until something came, `silent` where nothing came for two heartbeats, `ended` where it said so. */
  readonly state: Life;
  /** Seconds since anything came, NaN where nothing did. */
  readonly silent: number;
  /** Names the run of the publisher; "" until it is known. */
  readonly run: string;
  /** How often `run` changed. */
  readonly restarts: number;
}

const LONGEST_INTERVAL_MS = 3_600_000;

export class SignsOfLife {
  private last: number | null = null;
  private run = "";
  private restarts = 0;
  private interval = 1000;
  private ended = false;

  /** Note that a message of a run came, at a time in milliseconds; whether the publisher started again. */
  note(run: string, now: number): boolean {
    this.last = now;
    this.ended = false;
    if (run === "" || run === this.run) return false;
    const again = this.run !== "";
    this.run = run;
    this.restarts += Number(again);
    return again;
  }

  beat(message: StatusMessage): void {
    this.ended = message.state === "ended";
    const interval = Number(message.interval) / 1e6;
    if (interval > 0 && interval <= LONGEST_INTERVAL_MS) this.interval = interval;
  }

  liveness(now: number): Liveness {
    const silent = this.last === null ? NaN : now - this.last;
    let state: Life = silent > 2 * this.interval ? "silent" : "alive";
    if (this.last === null) state = "waiting";
    else if (this.ended) state = "ended";
    return { state, silent: silent / 1000, run: this.run, restarts: this.restarts };
  }
}
