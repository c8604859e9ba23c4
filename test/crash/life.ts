/** Lives of one machine without a VM: a runtime in a process of its own on a software TPM, ended by a crash each time. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import type { BuiltBundle } from '@enclaim/image';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';
import { eventually } from '../support/eventually.ts';
import { Program } from '../support/program.ts';
import { bundled, startWorkers } from '../support/worker-process.ts';
import type { Fault } from './cut-disk.ts';
import { Model } from './model.ts';
import { Pairs, work } from './pairs.ts';
import { filesThatShow, newMark, shows } from './planted.ts';

/** What the runtime's process is told. */
export interface Boot {
  readonly bundle: string;
  readonly policy: BuiltBundle['policy'];
  readonly digest: BuiltBundle['digest'];
  readonly tpm: { readonly folder: string; readonly path: string };
  readonly disk: string;
  readonly bytes: number;
  readonly fault?: Fault;
}

/** What it says. */
export type Said =
  | { readonly kind: 'serving'; readonly target: string; readonly references: References }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

/** How a life ends. */
export type Crash =
  /** The runtime is killed after so many changes, or while it writes for so many a time. */
  | { readonly kind: 'runtime'; readonly changes: number }
  | { readonly kind: 'runtime'; readonly write: number; readonly seed: number }
  /** A worker is killed, and later the runtime. */
  | { readonly kind: 'worker'; readonly changes: number }
  /** The TPM's program is killed so many milliseconds after the start, and later the runtime. */
  | { readonly kind: 'tpm'; readonly after: number }
  /** The power is cut at a write: what was not acknowledged is lost, torn and reordered. */
  | { readonly kind: 'power'; readonly write: number; readonly seed: number }
  /** The disk fails from a write on. */
  | { readonly kind: 'error'; readonly write: number; readonly seed: number };

/** What a life was. */
export interface Life {
  /** Whether it served, so that what crashes before it left was held against the model. */
  readonly served: boolean;
  readonly refusal: string | null;
}

const DISK_BYTES = 32 * 1024 * 1024;
/** Changes within which a life ends whose crash does not come. */
const MOST_CHANGES = 40;

export class CrashMachine {
  readonly model: Model = new Model();
  readonly mark: string = newMark();
  readonly #swtpm: Swtpm;
  readonly #folder: string;
  readonly #bundle: BuiltBundle;
  readonly #draw: (below: number) => number;
  readonly #program: string;
  #said = '';

  private constructor(swtpm: Swtpm, folder: string, bundle: BuiltBundle, draw: (below: number) => number) {
    this.#swtpm = swtpm;
    this.#folder = folder;
    this.#bundle = bundle;
    this.#draw = draw;
    startWorkers(); // makes the files that each life would make anew
    this.#program = bundled('crash-runtime', 'test/crash/runtime-process.ts');
  }

  /** A machine whose disk lies in `folder`. */
  static async make(folder: string, bundle: BuiltBundle, draw: (below: number) => number): Promise<CrashMachine> {
    const machine = new CrashMachine(await startSwtpm({ certified: true }), folder, bundle, draw);
    await writeFile(join(folder, 'app.enclaim'), bundle.bytes);
    await writeFile(machine.disk, '');
    return machine;
  }

  get disk(): string {
    return join(this.#folder, 'disk');
  }

  async end(): Promise<void> {
    await this.#swtpm.stop();
  }

  /** Boots, holds what is there against the model, lets callers work, and lets the crash come. */
  async life(crash: Crash): Promise<Life> {
    await using runtime = this.#start(faultOf(crash));
    const dying = crash.kind === 'tpm' ? this.#killTpmAfter(crash.after) : undefined;
    try {
      const said = await firstWord(runtime);
      if (said === null) return { served: false, refusal: null };
      if (said.kind === 'refused') return { served: false, refusal: `${said.code}: ${said.message}` };
      return await this.#serve(runtime, said, crash);
    } finally {
      await dying;
      if (runtime.running) await runtime.stop('SIGKILL');
      this.#said += runtime.said;
      await this.#swtpm.powerCycle();
    }
  }

  async #serve(
    runtime: Program,
    { target, references }: Extract<Said, { kind: 'serving' }>,
    crash: Crash,
  ): Promise<Life> {
    const pairs = await Pairs.connect(target, references).catch((error: unknown) => {
      if (crash.kind === 'runtime' || crash.kind === 'power' || crash.kind === 'error' || crash.kind === 'tpm')
        return null;
      throw error;
    });
    if (pairs === null) return { served: false, refusal: null };
    try {
      const stored = await pairs.all().catch((error: unknown) => {
        if (crash.kind === 'worker') throw error;
        return null; // the crash came before the answer
      });
      if (stored === null) return { served: false, refusal: null };
      this.model.settle(stored);
      await this.#work(runtime, pairs, crash);
      return { served: true, refusal: null };
    } finally {
      pairs.close();
    }
  }

  async #work(runtime: Program, pairs: Pairs, crash: Crash): Promise<void> {
    let changes = 0;
    const most = 'changes' in crash ? crash.changes : MOST_CHANGES;
    const ask = (until: number) =>
      work(
        pairs,
        {
          model: this.model,
          mark: this.mark,
          draw: this.#draw,
          onAcknowledged: () => {
            changes++;
            // While other callers' changes are under way.
            if (crash.kind === 'runtime' && changes === most) process.kill(runtime.pid, 'SIGKILL');
            if (crash.kind === 'worker' && changes === most)
              for (const pid of childrenOf(runtime.pid)) process.kill(pid, 'SIGKILL');
          },
        },
        () => changes < until,
      );
    const failed = await ask(most + (crash.kind === 'worker' ? 8 : 0));
    if (crash.kind !== 'worker') return;
    // A call that failed while the runtime went on has changed nothing.
    for (const { key } of failed) {
      const { left } = await eventually('an answer of another worker', () => pairs.get(key));
      assert.equal(left || null, this.model.allowed(key)[0], 'a call whose worker was killed has changed something');
    }
    this.model.settle(await pairs.all());
    await ask(changes + 4);
  }

  /** Boots on a copy of the disk of before, of which later epochs have begun. @returns how that was refused */
  async bootOn(copy: string): Promise<string> {
    await using runtime = this.#start(undefined, copy);
    const said = await firstWord(runtime);
    await runtime.stop('SIGKILL');
    await this.#swtpm.powerCycle();
    return said?.kind === 'refused' ? `${said.code}: ${said.message}` : 'nothing';
  }

  /** A copy of the disk as it is. */
  async keepCopy(): Promise<string> {
    const copy = join(this.#folder, `copy-${this.model.tick()}`);
    await copyFile(this.disk, copy);
    return copy;
  }

  /** Where the mark is seen: in the disk, what the TPM keeps, or anything that was said. */
  async leaks(): Promise<string[]> {
    const found = await filesThatShow(this.mark, [this.disk, join(this.#swtpm.folder, 'state')]);
    return shows(Buffer.from(this.#said), this.mark) ? [...found, 'what the process said'] : found;
  }

  /** Bytes of the disk's file. */
  async size(): Promise<number> {
    return (await stat(this.disk)).size;
  }

  #start(fault: Fault | undefined, disk = this.disk): Program {
    const { folder } = this.#swtpm;
    const { policy, digest } = this.#bundle;
    const boot: Boot = {
      ...{ bundle: join(this.#folder, 'app.enclaim'), policy, digest, disk, bytes: DISK_BYTES },
      tpm: { folder, path: join(folder, 'tpm') },
      ...(fault && { fault }),
    };
    return new Program([process.execPath, '--no-warnings', this.#program, JSON.stringify(boot)], {
      // What a killed process leaves goes with the test's folder.
      env: { ...process.env, TMPDIR: this.#folder, ENCLAIM_TEST_BUNDLED: '1' },
    });
  }

  async #killTpmAfter(milliseconds: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    this.#swtpm.kill();
  }
}

function faultOf(crash: Crash): Fault | undefined {
  if (!('write' in crash)) return undefined;
  const { kind, write, seed } = crash;
  return { kind: kind === 'runtime' ? 'kill' : kind === 'power' ? 'cut' : 'error', write, seed };
}

/** The first thing that the process says; null if it was killed before. */
async function firstWord(runtime: Program): Promise<Said | null> {
  const line = await runtime.line(/^(\{.*\})$/).catch((error: unknown) => {
    if (runtime.running) throw error;
    return null;
  });
  return line === null ? null : (JSON.parse(line[1] ?? '') as Said);
}

/** Processes that a process has started. */
function childrenOf(parent: number): number[] {
  const isChild = (pid: string): boolean => {
    try {
      const [, , , ppid] = /^(\d+) \(.*\) (\S) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
      return Number(ppid) === parent;
    } catch {
      return false; // gone meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isChild(name))
    .map(Number);
}
