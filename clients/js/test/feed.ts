import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A message as Python read it. */
export type Plain = Record<string, any>;

/** The real publisher, in a process of its own. */
export class Feed {
  private constructor(
    private readonly process: ChildProcess,
    private readonly lines: AsyncIterator<string>,
    private readonly reader: Interface,
    readonly endpoint: string,
    readonly key: string | null,
  ) {}

  static async start(meshFormat = "float32", encrypted = false): Promise<Feed> {
    const root = fileURLToPath(new URL("../../../../", import.meta.url));
    const script = fileURLToPath(new URL("../../test/publisher.py", import.meta.url));
    const child = spawn(
      process.env["PYTHON"] ?? `${root}.venv/bin/python`,
      [script, meshFormat, encrypted ? "encrypted" : "plain"],
      { env: { ...process.env, PYTHONPATH: root }, stdio: ["pipe", "pipe", "inherit"] },
    );
    const reader = createInterface(child.stdout!);
    const lines = reader[Symbol.asyncIterator]();
    const { endpoint, key } = JSON.parse((await lines.next()).value as string);
    return new Feed(child, lines, reader, endpoint, key);
  }

  async do(command: string): Promise<Plain> {
    this.process.stdin!.write(`${command}\n`);
    return JSON.parse((await this.lines.next()).value as string);
  }

  async stop(): Promise<void> {
    if (this.process.signalCode !== null) return;
    const exited = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await exited;
    this.reader.close();
  }
}
