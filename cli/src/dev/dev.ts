/**
 * `enclaim dev`: run an app on its author's machine, without a VM, and again whenever a file of it
 * changes.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type AppSource, findApp } from '@enclaim/image';
import { RefusalError, type Runtime } from '@enclaim/runtime';
import { confinementHere, type Layers } from '@enclaim/runtime/dev';
import type { Command } from 'commander';
import { lockFolder } from '../folder-lock.ts';
import { readInteger } from '../input.ts';
import { checkApp } from '../policy/app.ts';
import { formatFinding } from '../policy/report.ts';
import { printable } from '../printable.ts';
import { report } from '../report.ts';
import { Changes } from './changes.ts';
import { ServedApp } from './served-app.ts';
import { type BuiltApp, buildApp, openFolder, type ServeOptions, SessionState, serveApp } from './session.ts';

interface DevFlags {
  readonly policy?: string;
  readonly port: string;
  readonly state?: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Adds the command to the program. */
export function register(program: Command): void {
  program
    .command('dev')
    .description('run an app here, without a VM and without any promise, and again whenever a file of it changes')
    .argument('[folder]', 'folder with policy.yaml, proto/ and handlers/', '.')
    .option('--policy <file>', 'another policy than that of the folder')
    .option('--port <port>', 'port on 127.0.0.1; 0 picks a free one, which stays', '0')
    .option('--state <dir>', 'where key, references and log are kept (default: .enclaim/dev in the folder)')
    .action(async (folder: string, flags: DevFlags) => {
      const app = await findApp(folder, flags.policy === undefined ? {} : { policyFile: flags.policy });
      const state = flags.state ?? join(folder, '.enclaim/dev');
      await mkdir(state, { recursive: true, mode: 0o700 });
      await using _held = await lockFolder(state, 'enclaim-dev', 'end that session, or name another --state');
      const [files, layers] = [await openFolder(state), confinementHere()];
      describe(layers);
      const tell = (line: string): void => console.error(line);
      const port = readInteger('--port', flags.port, 65_535);
      await new Session(app, { files, state: new SessionState(files.log, tell), layers, port, tell }).live();
    });
}

function describe({ held, missing }: Layers): void {
  console.error('simulated  nothing is measured here: only references that name the key of this folder accept it');
  console.error(`confined   by seccomp, permissions, realm${held.map((layer) => `, ${layer}`).join('')}`);
  console.error(`without    ${missing.join(', ') || 'none'}${missing.length === 0 ? '' : ', which the VM has'}`);
}

/** One run of the command. */
class Session {
  readonly #app: AppSource;
  readonly #options: ServeOptions;
  readonly #served = new ServedApp<Runtime>((built) => serveApp(built, { ...this.#options, port: this.#port }));
  #port: number;
  #told = false;

  constructor(app: AppSource, options: ServeOptions) {
    this.#app = app;
    this.#options = options;
    this.#port = options.port;
  }

  /** Serves until a signal. @throws what keeps this machine from serving anything */
  async live(): Promise<void> {
    using changes = new Changes(this.#app);
    const stop = (): void => changes[Symbol.dispose]();
    for (const signal of SIGNALS) process.on(signal, stop);
    try {
      let files: readonly string[] | undefined = [];
      for (; files !== undefined; files = await changes.next()) {
        if (files.length > 0) console.error(`changed    ${files.map(printable).join(', ')}`);
        await this.#reload();
      }
    } finally {
      for (const signal of SIGNALS) process.off(signal, stop);
      await this.#served.close();
    }
  }

  /**
   * Builds and serves the app. If it does not build, or the runtime refuses it, the app that was
   * served before is served still, and the next change is tried.
   */
  async #reload(): Promise<void> {
    const built = await this.#build();
    if (built === undefined) {
      this.#wait();
      return;
    }
    try {
      await this.#serve(built);
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      report(error);
      this.#wait();
    }
  }

  #wait(): void {
    const kept = this.#served.isServing ? 'what was served before is served still' : 'nothing is served';
    console.error(`waiting    ${kept}; the next change is tried`);
  }

  async #build(): Promise<BuiltApp | undefined> {
    const { policyFile, protoDir } = this.#app;
    try {
      const { findings } = await checkApp({ policy: policyFile, protos: protoDir }, Date.now());
      for (const finding of findings) console.error(formatFinding(finding));
      return findings.some(({ level }) => level === 'error') ? undefined : await buildApp(this.#app);
    } catch (error) {
      report(error);
      return undefined;
    }
  }

  async #serve(built: BuiltApp): Promise<void> {
    const runtime = await this.#served.replace(built);
    const exposed = runtime.admission.exposed.map(({ id }) => id);
    console.error(`serving    ${exposed.join(', ')}`);
    if (this.#told) return;
    this.#told = true;
    this.#port = runtime.port;
    const { references } = this.#options.files;
    console.error(`call       enclaim call 127.0.0.1:${runtime.port} ${exposed[0] ?? ''} --references ${references}`);
    console.log(`127.0.0.1:${runtime.port}`);
  }
}
