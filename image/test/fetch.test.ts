/**
 * An input counts by its hash alone, from wherever it came, and only whole files enter the cache.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { ImageError, type ImageErrorCode } from '../src/errors.ts';
import { fetchLocked, writeWhole } from '../src/inputs/fetch.ts';
import type { LockedDeb } from '../src/inputs/lock.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-fetch-'));
const PACKAGE = Buffer.from('the package that was locked');

/** One answer for each mirror: what an honest one, a broken one and a hostile one send. */
const ANSWERS: Readonly<Record<string, (response: ServerResponse) => void>> = {
  honest: (response) => response.end(PACKAGE),
  missing: (response) => response.writeHead(404).end(),
  changed: (response) => response.end(PACKAGE.with(3, 0x58)),
  short: (response) => response.end(PACKAGE.subarray(1)),
  endless: (response) => {
    Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(65_536);
      })(),
    ).pipe(response);
  },
  cut: (response) => {
    response.writeHead(200, { 'content-length': PACKAGE.length });
    response.write(PACKAGE.subarray(0, 5), () => response.destroy());
  },
};

const server = createServer((request, response) => {
  ANSWERS[request.url?.split('/')[1] ?? '']?.(response);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const mirror = (kind: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${kind}`;
after(async () => {
  server.closeAllConnections();
  server.close();
  await rm(scratch, { recursive: true, force: true });
});

const deb: LockedDeb = {
  kind: 'deb',
  name: 'sample',
  version: '1',
  suite: 'bookworm',
  path: 'pool/main/s/sample/sample_1_amd64.deb',
  size: PACKAGE.length,
  sha256: createHash('sha256').update(PACKAGE).digest('hex'),
};

let caches = 0;
const newCache = (): string => join(scratch, `cache${caches++}`);
const refused = (code: ImageErrorCode) => (error: unknown) => error instanceof ImageError && error.code === code;

test('what was fetched is found again without a network', async () => {
  const cache = newCache();
  const told: string[] = [];
  const onDownload = ({ name }: { name: string }): void => void told.push(name);
  const first = await fetchLocked([deb], { cache, mirrors: [mirror('honest')], onDownload });
  assert.deepEqual(await readFile(first.get('sample') ?? ''), PACKAGE);
  const second = await fetchLocked([deb], { cache, mirrors: [], onDownload });
  assert.deepEqual(second, first);
  assert.deepEqual(told, ['sample']);
});

test('a mirror that lacks, changes, cuts or floods is passed over', async () => {
  for (const bad of ['missing', 'changed', 'short', 'endless', 'cut']) {
    const cache = newCache();
    const paths = await fetchLocked([deb], { cache, mirrors: [mirror(bad), mirror('honest')] });
    assert.deepEqual(await readFile(paths.get('sample') ?? ''), PACKAGE, bad);
  }
});

const OUTCOMES: readonly [string, RegExp][] = [
  ['missing', /HTTP 404/],
  ['changed', /sha256 [0-9a-f]{64}, the lock says/],
  ['short', /26 bytes, the lock says 27/],
  ['endless', /more bytes, the lock says 27/],
];

for (const [bad, reason] of OUTCOMES) {
  test(`with only a mirror that is ${bad}: nowhere, with the reason, and nothing in the cache`, async () => {
    const cache = newCache();
    const nowhere = { name: 'ImageError', code: 'input-nowhere', message: reason };
    await assert.rejects(fetchLocked([deb], { cache, mirrors: [mirror(bad)], archives: [] }), nowhere);
    assert.deepEqual(await readdir(join(cache, 'inputs')), []);
  });
}

const NO_PLACE = { mirrors: [], archives: [] };

test('no place at all is an error that names each that there could be, and what to do', async () => {
  const lines = [
    /^nowhere to be had: sample$/m,
    new RegExp(`^sample 1 \\(sha256:${deb.sha256}\\): cache: not there; sources: not there; mirrors: .*--mirror`, 'm'),
    /; archives: ENCLAIM_ARCHIVE names none$/m,
    /^ENCLAIM_ARCHIVE=PLACE,… names archives/m,
  ];
  for (const message of lines)
    await assert.rejects(fetchLocked([deb], { cache: newCache(), ...NO_PLACE }), { code: 'input-nowhere', message });
});

test('a damaged cache is noticed and mended', async () => {
  const cache = newCache();
  const path = (await fetchLocked([deb], { cache, mirrors: [mirror('honest')] })).get('sample') ?? '';
  await writeFile(path, PACKAGE.with(0, 0));
  await assert.rejects(fetchLocked([deb], { cache, ...NO_PLACE }), refused('input-nowhere'));
  await fetchLocked([deb], { cache, mirrors: [mirror('honest')] });
  assert.deepEqual(await readFile(path), PACKAGE);
});

test('two fetches at once, and one that was aborted, leave one whole file', async () => {
  const cache = newCache();
  const abort = new AbortController();
  const aborted = fetchLocked([deb], { cache, mirrors: [mirror('endless')], signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
  const both = await Promise.all([1, 2].map(() => fetchLocked([deb], { cache, mirrors: [mirror('honest')] })));
  assert.deepEqual(both[0], both[1]);
  assert.deepEqual(await readdir(join(cache, 'inputs')), [deb.sha256]);
});

test('a file that cannot be written whole is not written at all', async () => {
  const target = join(scratch, 'none', 'file');
  await assert.rejects(writeWhole(target, 'x'), refused('output-failed'));
  await writeWhole(join(scratch, 'file'), 'before');
  await writeWhole(join(scratch, 'file'), 'after');
  assert.equal(await readFile(join(scratch, 'file'), 'utf8'), 'after');
  assert.ok(!(await readdir(scratch)).some((name) => name.endsWith('.tmp')));
});
