/** `enclaim witness`: a witness of transparency logs (C2SP tlog-witness), for every kind of log. */

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatNoteKey, type NoteKey, parseNoteKey, parseTlogPolicy } from '@enclaim/attestation/tlog';
import type { Command } from 'commander';
import { lockFolder } from '../folder-lock.ts';
import { collect, readInput } from '../input.ts';
import { writeNew } from '../key.ts';
import { UsageError } from '../usage-error.ts';
import { ask } from './ask.ts';
import { serveWitness } from './server.ts';
import { type CosigningKey, cosigningKey, readCosigningKey } from './signer.ts';
import { WitnessStore } from './store.ts';
import { Witness } from './witness.ts';

/** Kinds of keys of a witness: one that every client verifies, one against quantum computers. */
const KEYS = ['ed25519', 'ml-dsa-44'] as const;
const MAX_WITNESSED_LOGS = 4096;

interface InitOptions {
  readonly name: string;
  readonly json?: true;
}

interface ServeOptions {
  readonly log: string[];
  readonly logs: string[];
  readonly listen: string;
  readonly json?: true;
}

export function register(program: Command): void {
  const witness = program.command('witness').description('cosign checkpoints of logs that only grow');
  witness
    .command('init')
    .description('make the keys of a witness; prints their lines for a policy of logs (C2SP tlog-policy)')
    .argument('<folder>', 'folder of keys and state')
    .requiredOption('--name <name>', 'name of the witness, such as example.com/witness')
    .option('--json', 'name and keys as JSON')
    .action(init);
  witness
    .command('serve')
    .description('answer logs until a signal ends it; prints its address')
    .argument('<folder>', 'folder of keys and state, of one witness at a time')
    .option('--log <key>', 'verifier key of a log (name+id+key); repeatable', collect, [])
    .option('--logs <file>', 'C2SP tlog-policy whose logs are witnessed; repeatable', collect, [])
    .option('--listen <address>', 'HOST:PORT, port 0 for a free one', '127.0.0.1:0')
    .option('--json', 'the address as JSON')
    .action(serve);
  witness
    .command('ask')
    .description('have witnesses cosign the checkpoint of a log in a folder of tiles, such as a release log')
    .argument('<folder>', 'folder of the log (C2SP tlog-tiles)')
    .requiredOption('--log-key <key>', 'verifier key of the log (name+id+key)')
    .requiredOption('--policy <file>', 'C2SP tlog-policy with addresses of witnesses, and the quorum')
    .option('-o, --out <file>', "where to write the cosigned checkpoint; by default the log's own")
    .option('--json', 'whether the quorum was reached, and what each witness refused, as JSON')
    .action(ask);
}

async function init(folder: string, { name, json }: InitOptions): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const made = [generateKeyPairSync('ed25519'), generateKeyPairSync('ml-dsa-44')].map(({ privateKey }) => privateKey);
  // Judged before anything is written: a name is for good.
  const keys = made.map((privateKey) => cosigningKey(name, privateKey));
  await writeNew(join(folder, 'name'), `${name}\n`, 0o644);
  for (const [index, kind] of KEYS.entries()) await writeNew(keyFile(folder, kind), pemOf(made[index]), 0o600);
  const lines = keys.map(({ key }) => ({ name: `${name}/${key.algorithm.split('/')[0]}`, key: formatNoteKey(key) }));
  if (json) console.log(JSON.stringify({ name, witnesses: lines }, null, 2));
  else for (const line of lines) console.log(`witness ${line.name} ${line.key}`);
}

async function serve(folder: string, { log, logs, listen, json }: ServeOptions): Promise<void> {
  const name = (
    await readFile(join(folder, 'name'), 'utf8').catch((cause) => {
      throw new UsageError(`${folder} has no witness: enclaim witness init makes one`, { cause });
    })
  ).trimEnd();
  const keys = await Promise.all(KEYS.map((kind) => readCosigningKey(name, keyFile(folder, kind))));
  const known = await logKeys(log, logs);
  refuseOwn(keys, known);
  const where = addressOf(listen);
  await using _lock = await lockFolder(folder, 'enclaim-witness', 'another witness serves from it: end that one');
  const store = await WitnessStore.open(join(folder, 'logs'), known.keys(), keys);
  const say = (line: string): void => console.error(`witness: ${line}`);
  const witness = new Witness({ keys, logs: known, store, now: () => Math.floor(Date.now() / 1000), say });
  const served = await serveWitness(witness, store, known.keys(), where).catch((cause) => {
    throw new UsageError(`--listen ${listen}: ${(cause as Error).message}`, { cause });
  });
  say(`${known.size} logs`);
  console.log(json ? JSON.stringify({ address: served.address }) : served.address);
  await toldToEnd();
  await served.close();
}

/** Keys of logs by origin. A log may have several, of which one must sign. */
async function logKeys(texts: readonly string[], files: readonly string[]): Promise<Map<string, NoteKey[]>> {
  const keys: NoteKey[] = texts.map((text) => readOrRefuse(`--log ${text}`, () => parseNoteKey(text)));
  for (const file of files) {
    const bytes = await readInput(file);
    keys.push(...readOrRefuse(file, () => parseTlogPolicy(bytes)).logs.map(({ key }) => key));
  }
  const logs = new Map<string, NoteKey[]>();
  const seen = new Set<string>();
  for (const key of keys) {
    const text = formatNoteKey(key);
    if (key.algorithm === 'cosignature/v1') throw new UsageError(`${text} is the key of a witness, not of a log`);
    if (!seen.has(text)) logs.set(key.name, [...(logs.get(key.name) ?? []), key]);
    seen.add(text);
  }
  if (logs.size === 0) throw new UsageError('no log to witness: --log or --logs');
  if (logs.size > MAX_WITNESSED_LOGS) throw new UsageError(`${logs.size} logs, at most ${MAX_WITNESSED_LOGS}`);
  return logs;
}

/**
 * Refuses a log under a key of the witness. Without this, its signature of one kind could be taken
 * for one of the other kind.
 */
function refuseOwn(keys: readonly CosigningKey[], logs: ReadonlyMap<string, readonly NoteKey[]>): void {
  for (const { key } of keys)
    for (const log of [...logs.values()].flat())
      if (Buffer.from(log.publicKey).equals(key.publicKey))
        throw new UsageError(`${log.name} has the witness's own key`);
}

function readOrRefuse<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new UsageError(`${what}: ${(cause as Error).message}`, { cause });
  }
}

function keyFile(folder: string, kind: string): string {
  return join(folder, `${kind}.pem`);
}

function pemOf(key: KeyObject | undefined): string {
  return String(key?.export({ format: 'pem', type: 'pkcs8' }));
}

function addressOf(text: string): { host: string; port: number } {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new UsageError(`--listen ${text}: expected HOST:PORT`);
  return { host, port: Number(port) };
}

function toldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}
