/**
 * A log that a mirror cosigns serves far more calls than its disk has room for, and nothing grows;
 * without the mirror calls are refused before the disk is full, with the reason, until it is back.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connect } from '@enclaim/client';
import { LogReader } from '@enclaim/client/log';
import { projectRoot } from '@enclaim/image';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { eventually } from './support/eventually.ts';
import { count, LONG } from './support/long.ts';
import { buildClinic } from './support/witnessed-clinic.ts';

const MIB = 1024 * 1024;
/** A request to submit a patient whose id is p1. */
const PATIENT = Buffer.from('\n\x04\x12\x02p1', 'latin1');
const CLI = join(projectRoot, 'cli/src/main.ts');
/** Bytes of the disk, round which the calls go several times. */
const LOG = LONG ? 16 * MIB : MIB / 2;
const CALLS = count(2500, 1_000_000);
const STREAMS = count(8, 64);
const ANSWERED = '0';
/** UNAVAILABLE, and the reason. */
const FULL = '14 the log is full';
/** A call was under way when the last room went. */
const UNRECORDED = '14 the response could not be recorded';
/** What the process may hold more at the end than after a tenth of the calls. */
const MOST_MORE = 12 * MIB;

let folder: string;
let machine: AttestedRuntime;
let session: ClientHttp2Session;
/** A case that was handed in. */
let asked: Buffer;
/** The mirror's verifier key. */
let key: string;
const children = new Set<ChildProcess>();

/** Starts a command; its lines of output as they come. */
function started(...words: string[]): { readonly child: ChildProcess; readonly lines: AsyncIterable<string> } {
  const child = spawn(process.execPath, ['--no-warnings', CLI, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return { child, lines: createInterface({ input: child.stdout }) };
}

async function firstLine(lines: AsyncIterable<string>): Promise<string> {
  for await (const line of lines) return line;
  throw new Error('no output');
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

/** Asks: the status and message of the call's end, and what came. */
async function ask(path: string, message: Buffer): Promise<{ readonly said: string; readonly answer: Buffer }> {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let last: IncomingHttpHeaders = {};
  const hear = (heard: IncomingHttpHeaders): void => {
    if (heard['grpc-status'] !== undefined) last = heard;
  };
  stream.on('response', hear).on('trailers', hear);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([head, message]));
  const answer = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>)).subarray(5);
  return { said: `${last['grpc-status']} ${decodeURIComponent(String(last['grpc-message'] ?? ''))}`.trimEnd(), answer };
}

const serving = async (): Promise<boolean> =>
  (await ask('/grpc.health.v1.Health/Check', Buffer.alloc(0))).answer.at(-1) === 1;

/** Bytes that this process holds once what is no longer used was collected. */
function held(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** So many calls that are answered, and how many were refused meanwhile, for the one reason there is. */
async function calls(wanted: number): Promise<{ readonly refused: number }> {
  let [left, refused] = [wanted, 0];
  const caller = async (): Promise<void> => {
    while (left > 0) {
      left--;
      const { said } = await ask('/clinic.v1.Intake/Read', asked);
      if (said === ANSWERED) continue;
      assert([FULL, UNRECORDED].includes(said), said);
      left++;
      refused++;
      await sleep(20); // for the mirror
    }
  };
  await Promise.all(Array.from({ length: STREAMS }, caller));
  return { refused };
}

/** Calls until each caller was refused; one of them asks for health after each call that was answered. */
async function untilRefused(): Promise<{ readonly answered: number; readonly warned: number; readonly said: string }> {
  let [answered, warned] = [0, 0];
  const caller = async (number: number): Promise<string> => {
    while (true) {
      const { said } = await ask('/clinic.v1.Intake/Read', asked);
      if (said !== ANSWERED && said !== UNRECORDED) return said;
      answered++;
      if (number === 0 && !(await serving())) warned++;
    }
  };
  const [said = '', ...others] = await Promise.all(Array.from({ length: STREAMS }, (_, number) => caller(number)));
  for (const other of others) assert.equal(other, said);
  return { answered, warned, said };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-mirrored-'));
  const { child, lines } = started('witness', 'init', join(folder, 'mirror'), '--name', 'example.net/mirror');
  const keys = await Array.fromAsync(lines);
  if (child.exitCode === null) await once(child, 'exit');
  key = keys[0]?.split(' ')[2] ?? assert.fail('a witness has two keys');
  machine = await bootAttested(await buildClinic(folder, { mirror: key }), { logBytes: LOG });
  await writeFile(join(folder, 'references.json'), JSON.stringify(machine.references));
  session = connectHttp2(`https://${machine.target}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  const { said, answer } = await ask('/clinic.v1.Intake/Submit', PATIENT);
  assert.equal(said, ANSWERED);
  asked = answer.subarray(0, 2 + (answer[1] ?? 0)); // field 1 is the case's id in both
});
after(async () => {
  for (const child of children) await ended(child);
  session?.destroy();
  await machine?.stop();
  await rm(folder, { recursive: true });
});

/** Starts the mirror and a courier between it and the machine. */
async function mirrored(): Promise<{ readonly courier: ChildProcess; readonly mirror: ChildProcess }> {
  await using channel = await connect(machine.target, { references: machine.references });
  const log = await new LogReader(channel).checkpoint();
  const mirror = started('witness', 'serve', join(folder, 'mirror'), '--log', log.key);
  const address = await firstLine(mirror.lines);
  const lines = [`log ${log.key}`, `witness mirror ${key} ${address}`, 'quorum mirror'];
  await writeFile(join(folder, 'mirror.policy'), `${lines.join('\n')}\n`);
  const words = ['--references', join(folder, 'references.json'), '--witnesses', join(folder, 'mirror.policy')];
  const courier = started('log', 'courier', machine.target, ...words);
  void Array.fromAsync(courier.lines).catch(() => {}); // read, so that it is not held up
  return { courier: courier.child, mirror: mirror.child };
}

test('without the mirror: refused before the disk is full, with the reason, and health says so', async () => {
  const { answered, warned, said } = await untilRefused();
  assert.equal(said, FULL);
  assert(answered > 100 && warned > 0 && warned < answered, `${answered} answered, ${warned} of them when warned`);
  assert.equal(await serving(), false);
  assert((await stat(machine.logFile)).size <= LOG);
});

test('with the mirror: many times what the disk has room for, and neither memory nor a disk grows', async (t) => {
  const { courier, mirror } = await mirrored();
  await eventually('the log serves again', serving);
  const { refused: first } = await calls(CALLS / 10);
  const before = held();
  const { refused } = await calls((CALLS / 10) * 9);
  const more = held() - before;
  const { size, minimum } = await sizes();
  t.diagnostic(
    `${CALLS} calls, ${first + refused} refused and asked again, ${size} records from ${minimum}, ${more} bytes more`,
  );
  assert(size > CALLS && minimum > size / 2);
  assert(more < MOST_MORE, `${more} bytes more`);
  assert((await stat(machine.logFile)).size <= LOG);
  const files = await readdir(join(folder, 'mirror'), { recursive: true });
  assert(files.length < 12, `${files}`);
  await ended(courier);
  await ended(mirror);
});

test('when the mirror leaves, what the disk has room for is answered, and then refused again', async () => {
  const { said } = await untilRefused();
  assert.equal(said, FULL);
});

async function sizes(): Promise<{ readonly size: number; readonly minimum: number }> {
  await using channel = await connect(machine.target, { references: machine.references });
  return await new LogReader(channel).checkpoint();
}
