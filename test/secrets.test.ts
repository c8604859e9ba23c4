/** A secret goes from its owner to a verified machine and in a header to the mailer, and is nowhere else. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from '@enclaim/client';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { EXIT } from '../cli/src/exit-status.ts';
import { NOTES } from '../cli/src/manual/notes.ts';
import { mismatch } from '../cli/src/manual/shape.ts';
import { type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { enclaim } from './support/command.ts';
import { needs } from './support/machine-needs.ts';
import { caseOf, MAILER_NAME, notifyBundle, SUBMIT } from './support/notify-app.ts';
import { refusalInfo } from './support/refusal-info.ts';
import { ownerName } from './support/secrets-server.ts';

const NAME = 'mailer-token';
const TOKEN = 'sk-5c1f-e0a7-94d2-6b38';
const ROTATED = 'sk-77aa-01be-c3f9-20d4';
const main = join(import.meta.dirname, '../cli/src/main.ts');
const owner = generateKeyPairSync('ed25519').privateKey;
let mailer: FakeSubprocessor;
let booted: AttestedRuntime;
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-secrets-'));
  mailer = await startSubprocessor({ names: [MAILER_NAME], answer: () => ({ body: TOKEN }) });
  const bundle = await notifyBundle(mailer, { owner: ownerName(owner), secret: NAME });
  booted = await bootAttested(bundle, { resolve: async () => ['127.0.0.1'] });
  await writeFile(join(folder, 'references.json'), JSON.stringify(booted.references));
  await keyFile('owner.pem', owner);
  await keyFile('other.pem', generateKeyPairSync('ed25519').privateKey);
});
after(async () => {
  await booted.stop();
  await mailer.stop();
  await rm(folder, { recursive: true });
});

const keyFile = (name: string, key: KeyObject): Promise<void> =>
  writeFile(join(folder, name), key.export({ format: 'pem', type: 'pkcs8' }));

/** Words of a command about the machine, signed with a key. */
function words(command: string, args: readonly string[] = [], key = 'owner.pem'): string[] {
  const verified = ['--references', join(folder, 'references.json'), '--quiet'];
  return ['secret', command, booted.target, ...args, ...verified, '--key', join(folder, key)];
}
const secret = (command: string, args: readonly string[] = [], key?: string) => enclaim(...words(command, args, key));

/** Puts the value that is in a file. */
async function put(value: string, args: readonly string[] = [], key?: string): ReturnType<typeof enclaim> {
  const file = join(folder, 'value');
  await writeFile(file, value);
  return secret('put', [NAME, '--file', file, ...args], key);
}

/** Hands a case in, of a patient who is to get word. */
async function submitted(address: string | null = 'jane@example.org'): Promise<ServiceError | null> {
  const channel = await connect(booted.target, { references: booted.references });
  const client = new Client(booted.target, credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(SUBMIT, same, same, caseOf(address), (error) => resolve(error));
    });
  } finally {
    client.close();
    channel.close();
  }
}

async function isUnavailable(): Promise<void> {
  const received = mailer.received.length;
  const error = await submitted();
  assert.deepEqual([error?.code, error?.details], [14, `the secret ${NAME} is not there`]);
  const [details] = error?.metadata.get('grpc-status-details-bin') ?? [];
  assert.equal(refusalInfo(details as Buffer).reason, 'SECRET');
  assert.equal(mailer.received.length, received);
  assert.equal(await submitted(null), null, 'who needs no secret is served');
}

const shownLast = (): unknown => mailer.received.at(-1)?.headers.authorization;

test('before it is there, what needs it is unavailable, and the rest is served', async () => {
  const { code, stdout } = await secret('list');
  assert.deepEqual([code, stdout], [EXIT.ok, `${NAME}  not there\n`]);
  await isUnavailable();
});

test('a foreign key, an unknown name and a value that no header carries change nothing', async () => {
  const foreign = await put(TOKEN, [], 'other.pem');
  assert.equal(foreign.code, EXIT.answered, foreign.stderr);
  const file = join(folder, 'value');
  assert.equal((await secret('put', ['mialer-token', '--file', file])).code, EXIT.answered);
  for (const value of [`${TOKEN}\nx`, `${TOKEN}\r\nx-admin: 1\r\n`, `${TOKEN}\0`, 'short']) {
    const { code, stdout, stderr } = await put(value);
    assert.equal(code, EXIT.usage);
    assert(!(stdout + stderr).includes(TOKEN));
  }
  assert.equal((await secret('list')).stdout, `${NAME}  not there\n`);
});

test('the owner puts it, and the mailer is shown it; then another; then none', async () => {
  const first = await put(`${TOKEN}\n`, ['--json']);
  assert.equal(first.code, EXIT.ok, first.stderr);
  assert.equal(mismatch(NOTES['secret put']?.json ?? '', JSON.parse(first.stdout)), null);
  assert.deepEqual(JSON.parse(first.stdout), { name: NAME, rotated: false });
  assert.equal(await submitted(), null);
  assert.equal(shownLast(), `Bearer ${TOKEN}`);
  const listed = await secret('list', ['--json']);
  assert.equal(mismatch(NOTES['secret list']?.json ?? '', JSON.parse(listed.stdout)), null);
  assert(listed.stdout.includes('"since":"20'));
  // From standard input, as the manual has it.
  const piping = promisify(execFile)(process.execPath, [main, ...words('put', [NAME])]);
  piping.child.stdin?.end(`${ROTATED}\r\n`);
  assert.match((await piping).stdout, /in the place of another/);
  assert.equal(await submitted(), null);
  assert.equal(shownLast(), `Bearer ${ROTATED}`);
  const removed = await secret('remove', [NAME, '--json']);
  assert.equal(mismatch(NOTES['secret remove']?.json ?? '', JSON.parse(removed.stdout)), null);
  assert.deepEqual(JSON.parse(removed.stdout), { name: NAME, removed: true });
  await isUnavailable();
});

test('the log has the names of what was done, and neither the values nor anything made of them', async () => {
  const bytes = await readFile(booted.logFile);
  for (const reason of ['put', 'rotated', 'withdrawn']) assert(bytes.includes(`secret ${reason} ${NAME}`), reason);
  for (const value of [TOKEN, ROTATED])
    for (const encoding of ['base64', 'hex', 'latin1'] as const) {
      const text = Buffer.from(value).toString(encoding);
      // The end of base64 depends on what follows.
      assert(!bytes.includes(text.slice(0, 16)), text);
    }
});

test('no worker has it in its memory, which has what handlers are given', needs('root'), async () => {
  assert.equal((await put(TOKEN)).code, EXIT.ok);
  assert.equal(await submitted('mark-9d1c@example.org'), null);
  const own = await holdsInMemory(process.pid, [TOKEN]);
  assert.deepEqual(own, [true], 'the search finds what is there');
  const workers = await descendants(process.pid);
  const found = await Promise.all(workers.map((pid) => holdsInMemory(pid, [TOKEN, 'mark-9d1c@example.org'])));
  assert(
    found.some(([, isMarked]) => isMarked),
    'a worker had the request',
  );
  assert.deepEqual(
    found.filter(([isHeld]) => isHeld),
    [],
  );
});

/** Processes below one. */
async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const below = text.split(' ').filter(Boolean).map(Number);
  return [...below, ...(await Promise.all(below.map(descendants))).flat()];
}

/** Whether a process has each of the texts anywhere in memory that it can write. */
async function holdsInMemory(pid: number, texts: readonly string[]): Promise<boolean[]> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1').catch(() => '');
  const memory = await open(`/proc/${pid}/mem`).catch(() => undefined);
  const found = texts.map(() => false);
  for (const [, from = '', to = ''] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm)) {
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    for (let at = start; at < end; at += STEP) {
      const part = Buffer.alloc(Math.min(STEP + OVERLAP, end - at));
      // What is only reserved cannot be read.
      await memory?.read(part, 0, part.length, at).catch(() => {});
      for (const [i, text] of texts.entries()) found[i] ||= part.includes(text);
    }
  }
  await memory?.close();
  return found;
}
const STEP = 4 * 1024 * 1024;
const OVERLAP = 256;
