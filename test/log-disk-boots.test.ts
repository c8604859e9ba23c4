/**
 * `enclaim log disk` names the boots on a disk, and which of their records stand under a kept quote:
 * of four boots, one has none, and one has a quote that does not cover its last records.
 */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { DecodeError } from '@enclaim/attestation/errors';
import { LogDisk, logLayout } from '@enclaim/attestation/log-disk';
import { connect } from '@enclaim/client';
import { Client, credentials } from '@grpc/grpc-js';
import { jsonOf } from '../cli/test/json-of.ts';
import { clinicBundle } from './support/app.ts';
import { bootAttested } from './support/attested-runtime.ts';
import { type Ended, enclaim } from './support/command.ts';
import { eventually } from './support/eventually.ts';

const CAPACITY = 4 * 1024 * 1024;
const { base, length } = logLayout(CAPACITY).quotes;
const boots: { readonly id: string; readonly began: number }[] = [];
const EMPTY = Buffer.alloc(2 * length);
let folder: string;
let policy: string;
/** The disk after each boot. */
const disks: Buffer[] = [];

const pathOf = (name: string): string => join(folder, name);
const quotesOn = (disk: Buffer): Promise<unknown[]> =>
  new LogDisk(async (at, bytes) => disk.subarray(at, at + bytes), CAPACITY).quotes();

/** A disk with other bytes in the places of quotes. */
function withPlaces(disk: Buffer, places: Uint8Array): Buffer {
  const other = Buffer.from(disk);
  other.set(places, base);
  return other;
}

async function diskNow(): Promise<Buffer> {
  const disk = Buffer.alloc(CAPACITY);
  (await readFile(pathOf('log'))).copy(disk);
  return disk;
}

function placesOf(disk: Buffer): Buffer {
  return disk.subarray(base, base + 2 * length);
}

/** Has a record written after the first quote. */
async function refusedCall(server: Awaited<ReturnType<typeof bootAttested>>): Promise<void> {
  await using channel = await connect(server.target, { references: server.references });
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  await new Promise<void>((done) =>
    client.makeUnaryRequest('/clinic.v1.Intake/Read', same, same, Buffer.of(0x0a, 1, 0x3f), () => done()),
  );
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-disk-boots-'));
  const bundle = await clinicBundle();
  policy = bundle.policy;
  const keys: `sha256:${string}`[] = [];
  let references: object = {};
  for (let i = 0; i < 4; i++) {
    const server = await bootAttested(bundle, { logFile: pathOf('log'), logBytes: CAPACITY });
    const { device, log, bootId } = server.runtime.statement;
    keys.push(device.ak ?? assert.fail('a TPM has an attestation key'));
    boots.push({ id: bootId, began: log.size });
    let early: Buffer | undefined;
    if (i === 2) {
      early = await eventually('a kept quote', async () => {
        const disk = await diskNow();
        return (await quotesOn(disk)).some((kept) => !(kept instanceof DecodeError)) ? placesOf(disk) : undefined;
      });
      await refusedCall(server);
    }
    await server.stop();
    const disk = await diskNow();
    const left = i === 1 ? withPlaces(disk, EMPTY) : early === undefined ? disk : withPlaces(disk, early);
    await writeFile(pathOf('log'), left);
    disks.push(left);
    const { anchors } = server.references;
    references = { ...server.references, anchors: { ...anchors, attestationKeys: keys } };
    await writeFile(pathOf('strange.json'), JSON.stringify({ ...references, anchors }));
  }
  await writeFile(pathOf('references.json'), JSON.stringify(references));
  const other = `sha384:${'0'.repeat(96)}`;
  await writeFile(pathOf('other.json'), JSON.stringify({ ...references, policy: other }));
});
after(() => rm(folder, { recursive: true }));

/** What is said of a disk. */
async function logDisk(disk: Buffer | undefined, ...args: readonly string[]): Promise<Ended> {
  await writeFile(pathOf('disk'), disk ?? assert.fail());
  return enclaim('log', 'disk', pathOf('disk'), ...args);
}

const boot = (i: number) => boots[i] ?? assert.fail();
const whole = (first: number, end: number) => ({ first, last: end - 1, count: end - first });
const rangeOf = (first: number, end: number): string => `  records ${first} to ${end - 1} (${end - first}) are`;
const NONE = 'under no kept quote of this boot';

/** Size of the log, and the records that stand under the quote of the third boot. */
async function sizes(): Promise<{ readonly size: number; readonly third: number }> {
  const { size, boots: told } = jsonOf('log disk', (await logDisk(disks[3], '--json')).stdout);
  return { size, third: told[2].quoted.last + 1 };
}

for (const [references, said] of [
  [undefined, () => 'NOT APPRAISED without --references'],
  ['references.json', () => `tpm, policy ${policy}: as expected`],
  ['other.json', () => `tpm, policy ${policy}: REFUSED by the references`],
] as const) {
  test(`each boot is told with its quote, by ${references ?? 'no references'}`, async () => {
    const { size, third } = await sizes();
    assert.ok(boot(2).began < third && third < boot(3).began);
    const args = references === undefined ? [] : ['--references', pathOf(references)];
    const { code, stdout, stderr } = await logDisk(disks[3], ...args);
    const [, ...lines] = stdout.trimEnd().split('\n');
    assert.deepEqual(lines, [
      `boot ${boot(0).id} began at 0`,
      `${rangeOf(0, boot(1).began)} under a kept quote: ${said()}`,
      `boot ${boot(1).id} began at ${boot(1).began}`,
      `${rangeOf(boot(1).began, boot(2).began)} ${NONE}`,
      `boot ${boot(2).id} began at ${boot(2).began}`,
      `${rangeOf(boot(2).began, third)} under a kept quote: ${said()}`,
      `${rangeOf(third, boot(3).began)} ${NONE}`,
      `boot ${boot(3).id} began at ${boot(3).began}`,
      `${rangeOf(boot(3).began, size)} under a kept quote: ${said()}`,
      'no fault',
    ]);
    assert.deepEqual([code, stderr], [references === 'other.json' ? 1 : 0, '']);
  });
}

test('JSON has the same, and a verdict under references alone', async () => {
  const { size, third } = await sizes();
  const verdict = { platform: 'tpm', policy, ok: true };
  for (const appraised of [false, true]) {
    const args = appraised ? ['--references', pathOf('references.json')] : [];
    const told = jsonOf('log disk', (await logDisk(disks[3], '--json', ...args)).stdout);
    const judged = appraised ? verdict : null;
    assert.deepEqual([told.appraised, told.bootless, told.quotes, told.omitted], [appraised, null, [], 0]);
    assert.deepEqual(told.boots, [
      { boot: boot(0).id, began: 0, quoted: whole(0, boot(1).began), unquoted: null, verdict: judged },
      {
        ...{ boot: boot(1).id, began: boot(1).began, quoted: null, verdict: null },
        unquoted: whole(boot(1).began, boot(2).began),
      },
      {
        ...{ boot: boot(2).id, began: boot(2).began, quoted: whole(boot(2).began, third), verdict: judged },
        unquoted: whole(third, boot(3).began),
      },
      {
        ...{ boot: boot(3).id, began: boot(3).began, quoted: whole(boot(3).began, size), verdict: judged },
        unquoted: null,
      },
    ]);
  }
});

test('a quote that is damaged is named, and covers nothing', async () => {
  const { size } = await sizes();
  const damaged = Buffer.from(disks[3] ?? assert.fail());
  for (const at of [base, base + length]) damaged.writeUInt8(damaged.readUInt8(at + 100) ^ 1, at + 100);
  const { code, stdout } = await logDisk(damaged, '--references', pathOf('references.json'));
  assert.match(stdout, /^quote in place \d: damaged: a kept quote whose hash is another /m);
  const lines = stdout.split('\n');
  const at = lines.indexOf(`boot ${boot(3).id} began at ${boot(3).began}`);
  assert.equal(lines[at + 1], `${rangeOf(boot(3).began, size)} ${NONE}`);
  assert.equal(code, 0);
});

test('a quote of more records than a disk has is refused: it is a disk of before', async () => {
  const { code, stdout } = await logDisk(withPlaces(disks[1] ?? assert.fail(), placesOf(disks[3] ?? assert.fail())));
  const most = boot(2).began;
  assert.match(stdout, new RegExp(`^quote in place \\d: REFUSED: log: over \\d+ records, the log has ${most}$`, 'm'));
  assert.match(stdout, new RegExp(`^ {2}records ${boot(1).began} to ${most - 1} \\(\\d+\\) are ${NONE}$`, 'm'));
  assert.equal(code, 1);
});

test('a quote under a key that nobody knows is refused, and covers nothing', async () => {
  const { code, stdout } = await logDisk(disks[3], '--references', pathOf('strange.json'));
  assert.match(stdout, /^quote in place \d: REFUSED: \w+: /m);
  assert.match(stdout, /^quote in block \d+: REFUSED: \w+: /m);
  assert.doesNotMatch(stdout, /under a kept quote/);
  assert.equal(stdout.match(new RegExp(NONE, 'g'))?.length, 4);
  assert.equal(code, 1);
});

test('references that are not named cannot have a key', async () => {
  const { code, stderr } = await logDisk(disks[3], '--references-key', 'key.pem');
  assert.match(stderr, /need --references/);
  assert.equal(code, 2);
});
