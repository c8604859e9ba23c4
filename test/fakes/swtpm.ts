/** A software TPM for tests: swtpm on a unix socket in a temporary folder, and tpm2-tools beside it. */

import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openTpmSocket, type TpmTransport } from '../../guest/src/tpm/transport.ts';
import { HANGS_MS } from '../support/eventually.ts';

const run = promisify(execFile);

/** A running software TPM. It serves one client at a time: close a transport before opening another or using a tool. */
export interface Swtpm {
  /** Folder for the files of tests; it goes away with the TPM. */
  readonly folder: string;
  /** The certificate of the authority that certified the endorsement keys, PEM; only with `certified`. */
  readonly authority?: string;
  connect(): Promise<TpmTransport>;
  /** Runs a program of tpm2-tools in `folder` on this TPM and gives its standard output. */
  tool(name: string, ...args: readonly string[]): Promise<string>;
  /** Kills its process; {@link powerCycle} starts it again. */
  kill(): void;
  /** Cuts the power, lets the host at the folder of its state, and starts it after a reset. */
  powerCycle(between?: (state: string) => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a TPM after TPM2_Startup(CLEAR), with the banks sha1, sha256, sha384 and sha512 active.
 * @param options.certified whether endorsement keys and certificates of an authority of its own are made (one second)
 */
export async function startSwtpm(options: { readonly certified?: boolean } = {}): Promise<Swtpm> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-swtpm-'));
  const state = join(folder, 'state');
  await mkdir(state);
  if (options.certified) await manufacture(folder, state);
  const path = join(folder, 'tpm');
  let running = await launch(state, path);
  return {
    folder,
    ...(options.certified && { authority: await readFile(join(folder, 'swtpm-localca-rootca-cert.pem'), 'utf8') }),
    connect: () => openTpmSocket({ path }),
    tool: async (name, ...args) => {
      const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${path}` };
      return (await run(name, args, { cwd: folder, env, timeout: HANGS_MS })).stdout;
    },
    kill: () => running.kill(),
    powerCycle: async (between = async () => {}) => {
      await running.end();
      await between(state);
      running = await launch(state, path);
    },
    stop: async () => {
      await running.end();
      await rm(folder, { recursive: true });
    },
  };
}

/** Runs swtpm over a folder of state until it is killed. */
async function launch(state: string, path: string): Promise<{ kill(): void; end(): Promise<void> }> {
  const child = spawn(
    'swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--flags', 'not-need-init,startup-clear'],
      // tpm2-tools look for the control socket under the name of the data socket.
      ...['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`],
    ],
    { stdio: 'ignore' },
  );
  const ended = new Promise<void>((resolve, reject) => {
    child.once('close', () => resolve());
    child.once('error', reject);
  });
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  const early = ended.then(() => Promise.reject(new Error('swtpm ended at once')));
  await Promise.race([early, untilReady(path)]).catch((error) => {
    // Without this, one that no test holds would keep the test's process alive.
    kill();
    throw error;
  });
  return {
    kill: () => void kill(),
    end: async () => {
      kill();
      await ended;
      process.off('exit', kill);
    },
  };
}

/** Makes endorsement keys and their certificates under an authority in `folder`; nothing of the machine's is touched. */
async function manufacture(folder: string, state: string): Promise<void> {
  const [setup, authority, names] = ['setup.conf', 'authority.conf', 'authority.options'].map((n) => join(folder, n));
  if (!setup || !authority || !names) throw new Error('three names make three paths');
  await writeFile(
    setup,
    `create_certs_tool = swtpm_localca\ncreate_certs_tool_config = ${authority}\ncreate_certs_tool_options = ${names}\n`,
  );
  const files = { signingkey: 'signkey.pem', issuercert: 'issuercert.pem', certserial: 'certserial' };
  const paths = Object.entries(files).map(([key, name]) => `${key} = ${join(folder, name)}\n`);
  await writeFile(authority, `statedir = ${folder}\n${paths.join('')}`);
  await writeFile(names, '--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n');
  await run('swtpm_setup', [
    ...['--tpm2', '--tpmstate', state, '--config', setup, '--create-ek-cert', '--pcr-banks', '-'],
  ]);
}

async function untilReady(path: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await (await openTpmSocket({ path })).close();
      return;
    } catch (error) {
      if (attempt === 200) throw error;
      await delay(10);
    }
  }
}
