/**
 * A program that a test has started: heard as long as it runs, waited for within limits, and never left behind. A test whose
 * opening fails halfway holds no program: that does not keep its process alive, and ends with it.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { type Ended, ended } from './ended.ts';
import { eventually, HANGS_MS } from './eventually.ts';

/** How a program is started. */
export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** After so long without what was waited for it hangs. */
  readonly hangsMs?: number;
}

export class Program {
  readonly #name: string;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #hangsMs: number;
  readonly #heard = { stdout: '', stderr: '' };
  #said = '';
  readonly #ended: Promise<Ended>;
  #end: Ended | undefined;

  /** Starts a program with its words. */
  constructor([program, ...words]: readonly [string, ...string[]], options: ProgramOptions = {}) {
    const { hangsMs = HANGS_MS, ...place } = options;
    this.#name = [program, ...words].join(' ').slice(0, 200);
    this.#hangsMs = hangsMs;
    this.#child = spawn(program, words, { ...place, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const name of ['stdout', 'stderr'] as const)
      this.#child[name].setEncoding('utf8').on('data', (text: string) => {
        this.#heard[name] += text;
        this.#said += text;
      });
    const kill = (): boolean => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#ended = ended(this.#child).finally(() => process.off('exit', kill));
    this.#ended.then(
      (end) => {
        this.#end = end;
      },
      (error: Error) => {
        this.#said += String(error);
        this.#end = { code: null, stdout: '', stderr: String(error) };
      },
    );
    // Only who waits for it keeps this process alive.
    for (const held of [this.#child, this.#child.stdout as Socket, this.#child.stderr as Socket]) held.unref();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#end === undefined;
  }

  /** What it said so far, on either output. */
  get said(): string {
    return this.#said;
  }

  /**
   * Waits until it has said a whole line of this kind, on either output.
   * @throws Error with what it said if it ends without, or hangs
   */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    const lines = new RegExp(pattern.source, `${pattern.flags.replace('m', '')}m`);
    const whole = (text: string): string => text.slice(0, text.lastIndexOf('\n') + 1);
    const look = (): RegExpExecArray | null =>
      lines.exec(whole(this.#heard.stdout)) ?? lines.exec(whole(this.#heard.stderr));
    const wait = `${pattern} of ${this.#name}`;
    const found = await eventually(wait, () => look() ?? this.#end, this.#hangsMs).catch((hangs: Error) => {
      throw new Error(`${hangs.message}:\n${this.said}`);
    });
    if (Array.isArray(found)) return found as RegExpExecArray;
    throw new Error(`${this.#name} ended with ${found.code} and did not say ${pattern}:\n${this.said}`);
  }

  /**
   * Waits for its end.
   * @throws Error with what it said if it hangs: it is ended then
   */
  async ended(): Promise<Ended> {
    await eventually(`the end of ${this.#name}`, () => this.#end, this.#hangsMs).catch((hangs: Error) => {
      this.#child.kill('SIGKILL');
      throw new Error(`${hangs.message}:\n${this.said}`);
    });
    return await this.#ended;
  }

  /** Asks it to end, and waits until it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.#child.kill(signal);
    return await this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.stop('SIGKILL');
  }
}
