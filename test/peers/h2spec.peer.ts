/**
 * HTTP/2 by h2spec, a tool that tries what RFC 9113 says of servers: `scripts/test-engines`. The server is held against a bare
 * server of Node's own, which is under it: what fails there is Node's, anything else is ours.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { AttestedServer } from '../../runtime/src/channel/server.ts';
import { openLab } from '../support/lab.ts';
import { needs } from '../support/machine-needs.ts';

/** Seconds that h2spec waits for what a server must do: on a busy machine it would take slowness for a fault. */
const PATIENCE_S = 10;

/** What fails of ours alone, and why that is right. */
const EXPLAINED: readonly string[] = [
  // A request that is no call, as all of h2spec's are, is answered and over at once: 65 of them are never open together.
  'http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded',
  // Such an answer is headers alone, where h2spec waits for content.
  'generic/2 Sends a WINDOW_UPDATE frame on half-closed (remote) stream',
  'generic/2 Sends a PRIORITY frame on half-closed (remote) stream',
];

/** What was tried at a port, and what of it failed. */
async function tried(folder: string, port: number): Promise<{ count: number; failed: string[] }> {
  const report = join(folder, `${port}.xml`);
  const words = ['-t', '-k', '-p', String(port), '-o', String(PATIENCE_S), '-j', report];
  // It ends with 1 where anything failed: the report says what.
  await new Promise((resolve) => execFile(join(folder, 'h2spec'), words, { maxBuffer: 1 << 24 }, resolve));
  const cases = (await readFile(report, 'utf8')).split('<testcase ').slice(1);
  const nameOf = (text: string): string =>
    ['package', 'classname'].map((name) => new RegExp(`${name}="([^"]*)"`).exec(text)?.[1] ?? '').join(' ');
  return {
    count: cases.length,
    failed: cases.filter((text) => /<failure|<error/.test(text)).map(nameOf),
  };
}

describe('h2spec', needs('go'), () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-h2spec-'));
    execFileSync('go', ['build', '-o', join(folder, 'h2spec'), 'github.com/summerwind/h2spec/cmd/h2spec'], {
      cwd: join(import.meta.dirname, 'h2spec'),
      stdio: 'inherit',
    });
  });
  after(() => rm(folder, { recursive: true }));

  test("finds nothing but what it finds in Node's own server", async (t) => {
    const keys = makeBootKeys();
    const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
    const bare = createSecureServer({ key: tls.key, cert: tls.certificate, minVersion: 'TLSv1.3' }, (_, response) => {
      response.end('hello');
    });
    bare.listen(0, '127.0.0.1');
    await once(bare, 'listening');
    const lab = await openLab({ handlers: { Sum: 'return {}' } });
    const server = new AttestedServer({ tls, admission: lab.admission, calls: lab.calls, attested: {} as never });
    try {
      const plain = await tried(folder, (bare.address() as AddressInfo).port);
      const ours = await tried(folder, await server.listen('127.0.0.1', 0));
      t.diagnostic(`of ${ours.count} cases ${ours.failed.length} fail, ${plain.failed.length} in Node's own server`);
      assert.ok(plain.count > 100);
      assert.equal(ours.count, plain.count);
      assert.deepEqual(
        ours.failed.filter((name) => !plain.failed.includes(name) && !EXPLAINED.includes(name)),
        [],
      );
    } finally {
      bare.close();
      await server.close();
      lab.close();
    }
  });
});
