/**
 * A newer lock follows a signed index of its suite, and an index that is not in order is passed
 * over.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { Lock } from '../src/inputs/lock.ts';
import { updateLock } from '../src/inputs/update.ts';
import { pretendGpgv } from './suite-mirror.ts';

const gpgv = pretendGpgv();

const DAY = 24 * 60 * 60 * 1000;
const inDays = (days: number): string => new Date(Date.now() + days * DAY).toUTCString().replace('GMT', 'UTC');

/** What each mirror has: the fields of its release file, and the version of its one package. */
const MIRRORS = {
  honest: { fields: ['Suite: stable', 'Codename: trixie', `Valid-Until: ${inDays(7)}`], version: '2.41-13' },
  same: { fields: ['Suite: stable', 'Codename: trixie'], version: '2.41-12' },
  alias: { fields: ['Suite: trixie', 'Codename: other'], version: '2.41-13' },
  foreign: { fields: ['Suite: oldstable', 'Codename: bookworm'], version: '2.41-13' },
  longer: { fields: ['Suite: stable-updates', 'Codename: trixie-updates'], version: '2.41-13' },
  nameless: { fields: ['Origin: Debian'], version: '2.41-13' },
  expired: { fields: ['Codename: trixie', `Valid-Until: ${inDays(-1)}`], version: '2.41-13' },
  timeless: { fields: ['Codename: trixie', 'Valid-Until: some day'], version: '2.41-13' },
  older: { fields: ['Suite: stable', 'Codename: trixie'], version: '2.41-9' },
} as const;
type Mirror = keyof typeof MIRRORS;

/** An index with libc6 at each version (`xz -0`): Version, Filename, Size 100, and a SHA256 of 64 times `a`. */
const INDEXES = {
  '2.41-9':
    '/Td6WFoAAAFpIt42AgAhAQwAAACPmEGc4ACkAGFdACgYSGbb2jCF/hbpFIk3vS6WxuPbZPqkFBXU1/U97ASOyk/WKyJm3M2EMnmoOe0ZIfVYWPdAdmIh7hppXVVpdenzCmTORAelZpHXDkmVYCjHxeRU6NYqkNptHdhHmlPdIAAAAAAAqFK/+wABeaUBAAAAV/8D7z4wDYsCAAAAAAFZWg==',
  '2.41-12':
    '/Td6WFoAAAFpIt42AgAhAQwAAACPmEGc4ACmAGJdACgYSGbb2jCF/hbpFIk3vS6WxuPbZPqkFBXU1/U97AQGWd4ApyB5sgBIwnJs8yg9CdzkQA8dBMkxMi3gLm9CkQ2LxbSm2H5hEtRpcBinFX9E5195FJxhYXB7O5BwJDpTdkAAAAAA4E8JVAABeqcBAAAAmd5XEz4wDYsCAAAAAAFZWg==',
  '2.41-13':
    '/Td6WFoAAAFpIt42AgAhAQwAAACPmEGc4ACmAGJdACgYSGbb2jCF/hbpFIk3vS6WxuPbZPqkFBXU1/U97AQGb09x7KKXQqCkjt+2z4tUDv6s64X/aNX/on7Dp5AtiyW0M7YVDCWRhsq5QchfS2bz9uhd2M1rPm38YD3+uDPSZCAAAAAARpeEggABeqcBAAAAmd5XEz4wDYsCAAAAAAFZWg==',
} as const;

const server = createServer((request, response) => {
  const [, name = '', ...path] = request.url?.split('/') ?? [];
  const mirror = MIRRORS[name as Mirror];
  const index = Buffer.from(INDEXES[mirror.version], 'base64');
  if (path.at(-1) !== 'InRelease') return void response.end(index);
  const digest = createHash('sha256').update(index).digest('hex');
  response.end(`${mirror.fields.join('\n')}\nSHA256:\n ${digest} ${index.length} main/binary-amd64/Packages.xz\n`);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
after(async () => {
  server.close();
  gpgv.end();
});

const locked = {
  kind: 'deb',
  name: 'libc6',
  version: '2.41-12',
  suite: 'trixie',
  path: 'pool/x.deb',
  size: 1,
} as const;
const lock: Lock = { version: 1, inputs: [{ ...locked, sha256: 'b'.repeat(64) }] };

async function updateFrom(...names: readonly Mirror[]): Promise<string | undefined> {
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { lock: next } = await updateLock(lock, { mirrors: names.map((name) => `${base}/${name}/`) });
  return next.inputs[0]?.version;
}

test('a newer version and the same one are taken from the index of the suite, by code name or by name', async () => {
  assert.equal(await updateFrom('honest'), '2.41-13');
  assert.equal(await updateFrom('alias'), '2.41-13');
  assert.equal(await updateFrom('same'), '2.41-12');
});

const REFUSED: Readonly<Partial<Record<Mirror, RegExp>>> = {
  foreign: /is of bookworm \(oldstable\), expected trixie/,
  longer: /is of trixie-updates \(stable-updates\), expected trixie/,
  nameless: /is of no suite \(no suite\), expected trixie/,
  expired: /was valid until/,
  timeless: /was valid until some day/,
  older: /libc6 2\.41-9, older than the locked 2\.41-12/,
};

for (const [name, message] of Object.entries(REFUSED) as [Mirror, RegExp][]) {
  test(`a signed index that is ${name} is refused, and the next mirror asked`, async () => {
    await assert.rejects(updateFrom(name), { name: 'ImageError', code: 'fetch-failed', message });
    assert.equal(await updateFrom(name, 'honest'), '2.41-13');
  });
}
