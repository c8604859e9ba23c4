/** The runtime closes every stretch of its log by what it holds, at a count, at a time and at its end, and states nothing of an earlier boot. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decodeEntry, type EvidenceRecord } from '@enclaim/attestation/record';
import { readSegment, segmentFaults } from '@enclaim/attestation/segment';
import { type Policy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { eventually } from '../../test/support/eventually.ts';
import { openDevice } from '../src/log/device.ts';
import { entryOf } from '../src/log/entry.ts';
import { RecordLog } from '../src/log/record-log.ts';
import { Segments } from '../src/log/segments.ts';

const CAPACITY = 4 * 1024 * 1024;
const policy: Policy = parsePolicy(`enclaim: 1
system: { name: lab, owner: { name: Lab, contact: lab@lab.example }, version: 1 }
claims: [{ id: closed, kind: no-undisclosed-recipients, statement: Nobody else., controls: [soc2/cc6.1] }]
`);
const options = {
  admission: { policy, digest: policyDigest(policy) } as never,
  clock: { text: () => '2026-11-20T00:00:00.000Z' },
};

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-segments-'));
});
after(() => rm(folder, { recursive: true }));

/** One boot on a disk. */
async function boot(
  path: string,
  run: (log: RecordLog, segments: Segments) => Promise<void>,
  limits: { readonly records?: number; readonly milliseconds?: number } = {},
): Promise<Uint8Array[]> {
  const device = await openDevice(path);
  try {
    const log = await RecordLog.open(device, CAPACITY);
    const segments = new Segments({ ...options, log, ...limits });
    await run(log, segments);
    await log.append(entryOf(options, { reason: 'last' }), 'runtime'); // after it all before it is durable
    return await log.entries(0, log.durable.size);
  } finally {
    await device.close();
  }
}

async function disk(name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '');
  await truncate(path, CAPACITY);
  return path;
}

const call = (log: RecordLog): Promise<unknown> =>
  log.append(entryOf(options, { claims: ['closed'], decision: 'allow' }));

/** The segments among entries, each held against its stretch. */
function segmentsIn(entries: readonly Uint8Array[]): string[] {
  const records: EvidenceRecord[] = entries.map(decodeEntry);
  return records.flatMap((record) => {
    if (record.segment === undefined) return [];
    const segment = readSegment([record]);
    assert.deepEqual(segmentFaults(segment, entries.slice(segment.first, segment.end), policy), []);
    return [`${record.reason} ${segment.first}-${segment.end} ${segment.controls.get('soc2/cc6.1')?.allow ?? 0}`];
  });
}

test('at a count: a segment follows the last record of it, whatever is placed in the same turn', async () => {
  const entries = await boot(
    await disk('count'),
    async (log) => void (await Promise.all(Array.from({ length: 10 }, () => call(log)))),
    { records: 4 },
  );
  assert.deepEqual(segmentsIn(entries), ['segment count 0-4 4', 'segment count 4-9 4']);
});

test('at the end: what is left, once, and nothing where nothing came', async () => {
  const entries = await boot(await disk('end'), async (log, segments) => {
    segments.close();
    await call(log);
    segments.close();
    segments.close();
  });
  assert.deepEqual(segmentsIn(entries), ['segment end 0-1 1']);
});

test('after a time, and not again while nothing comes', async () => {
  const entries = await boot(
    await disk('time'),
    async (log) => {
      await call(log);
      await eventually('the segment is closed', () => log.size === 2);
    },
    { milliseconds: 5 },
  );
  assert.equal(segmentsIn(entries)[0], 'segment time 0-1 1');
});

test('a boot that ended suddenly leaves a gap, of which the next one states nothing', async () => {
  const path = await disk('gap');
  await boot(path, async (log) => void (await call(log)));
  const entries = await boot(path, async (log, segments) => {
    await call(log);
    segments.close();
  });
  assert.deepEqual(segmentsIn(entries), ['segment end 2-3 1']);
});

test('a log that takes no more records ends no call by a segment', async () => {
  const device = await openDevice(await disk('full'));
  const log = await RecordLog.open(device, CAPACITY);
  new Segments({ ...options, log, records: 1 });
  await device.close(); // every write fails from now on
  await assert.rejects(call(log));
  await assert.rejects(async () => call(log));
});
