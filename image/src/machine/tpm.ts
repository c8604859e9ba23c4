/**
 * A software TPM: its state, endorsement certificates by an authority of its folder alone, and its
 * process.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TPM_SOCKET } from './arguments.ts';
import { type Child, startChild, tied } from './child.ts';
import { MachineError } from './error.ts';
import { makeOwnFolder } from './own-folder.ts';
import type { MachineTools } from './tools.ts';

/** Where a TPM lives. */
export interface TpmState {
  /** The folder that swtpm opens. */
  readonly folder: string;
  /**
   * PEM files of the authority that certified this TPM's endorsement keys: its root, and the issuer
   * between.
   * **Trust**: it proves nothing about hardware. A client trusts it only if the client names it.
   */
  readonly authority: { readonly root: string; readonly issuer: string };
}

const MARKER = 'tpm2-00.permall';
const TIMEOUT_MS = 10_000;
const POLL_MS = 5;

/**
 * Returns the TPM under `folder`, and makes one first if there is none yet. It is made aside and
 * renamed, so that an interrupted run leaves no half of a TPM. The computer's own swtpm state is
 * not touched.
 *
 * @throws MachineError `tpm-failed`, or the reason of `signal`.
 */
export async function prepareTpm(folder: string, tools: MachineTools, signal: AbortSignal): Promise<TpmState> {
  const certificate = (name: string): string => join(folder, 'authority', name);
  const authority = { root: certificate('swtpm-localca-rootca-cert.pem'), issuer: certificate('issuercert.pem') };
  const state = { folder: join(folder, 'tpm'), authority };
  if (existsSync(join(state.folder, MARKER))) return state;
  // Without this, swtpm would make a new TPM in it, and the operator would not notice the loss of
  // the old one.
  if (existsSync(state.folder)) throw new MachineError('tpm-failed', `${state.folder} exists and holds no TPM`);
  const partial = await makeOwnFolder(folder, 'tpm');
  try {
    await manufacture(folder, partial, tools);
    signal.throwIfAborted();
    await rename(partial, state.folder).catch((cause) => {
      throw new MachineError('tpm-failed', `another run made the TPM in ${folder} meanwhile`, { cause });
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return state;
}

/**
 * Starts swtpm as rendered and waits until it listens in `runFolder`. It ends by itself when its
 * one client goes away.
 *
 * @throws MachineError `tpm-failed`, or the reason of `signal`; the process is gone then.
 */
export async function startTpm(
  argv: readonly [string, ...string[]],
  runFolder: string,
  tools: MachineTools,
  signal: AbortSignal,
): Promise<Child> {
  const child = await startChild(tied(tools.setpriv, argv), { temporary: runFolder });
  let alive = true;
  void child.ended.then(() => {
    alive = false;
  });
  try {
    for (let waited = 0; !existsSync(join(runFolder, TPM_SOCKET)); waited += POLL_MS) {
      signal.throwIfAborted();
      if (!alive || waited > TIMEOUT_MS) {
        throw new MachineError('tpm-failed', `swtpm does not listen: ${child.errors().slice(-3).join('; ')}`);
      }
      await sleep(POLL_MS);
    }
    return child;
  } catch (error) {
    await child.stop();
    throw error;
  }
}

/**
 * Runs swtpm_setup to its end, also if the run is aborted meanwhile or this process dies. Ended
 * early, it would leave behind the TPM that it works with. Left alone, it is done within a second.
 */
async function manufacture(folder: string, partial: string, tools: MachineTools): Promise<void> {
  const authority = join(folder, 'authority');
  const configuration = join(partial, 'configuration');
  await mkdir(authority, { recursive: true, mode: 0o700 });
  await mkdir(configuration, { recursive: true, mode: 0o700 });
  const write = async (name: string, lines: readonly string[]): Promise<string> => {
    const file = join(configuration, name);
    await writeFile(file, `${lines.join('\n')}\n`);
    return file;
  };
  const setup = await write('setup', [
    `create_certs_tool=${tools.swtpmLocalca}`,
    `create_certs_tool_config=${await write('authority', [
      `statedir = ${authority}`,
      `signingkey = ${authority}/signkey.pem`,
      `issuercert = ${authority}/issuercert.pem`,
      `certserial = ${authority}/certserial`,
    ])}`,
    `create_certs_tool_options=${await write('options', [
      '--platform-manufacturer Enclaim',
      '--platform-version 1',
      '--platform-model QEMU',
    ])}`,
  ]);
  const child = await startChild(
    [
      tools.swtpmSetup,
      ...['--tpm2', '--tpmstate', partial, '--tpm', `${tools.swtpm} socket`, '--config', setup],
      ...['--create-ek-cert', '--pcr-banks', 'sha256', '--overwrite'],
    ],
    { temporary: partial },
  );
  const { code } = await child.ended;
  if (code !== 0) {
    throw new MachineError('tpm-failed', `swtpm_setup ended with ${code}: ${child.errors().slice(-3).join('; ')}`);
  }
  await rm(configuration, { recursive: true });
}
