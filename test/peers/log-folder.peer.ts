/**
 * A folder that `copyLog` wrote, read by Go's checksum database (golang.org/x/mod/sumdb, at the version of go-log/go.mod):
 * note, root, inclusion and consistency from its tiles; and every change of a file is refused. `scripts/test-engines`.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from '@enclaim/client';
import { copyLog, LogReader } from '@enclaim/client/log';
import { type LogServer, readerName, startLogServer } from '../support/log-server.ts';
import { needs } from '../support/machine-needs.ts';

const run = promisify(execFile);
const FIRST = 1500;
const MORE = 777;

describe("a copied log, by Go's checksum database", needs('go'), () => {
  const parts = new AsyncDisposableStack();
  let folder: string;
  let program: string;
  let key: string;
  let server: LogServer;
  const copy = (): string => join(folder, 'copy');
  const older = (): string => join(folder, 'older');

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-go-log-'));
    parts.defer(() => rm(folder, { recursive: true }));
    program = join(folder, 'go-log');
    const cwd = join(import.meta.dirname, 'go-log');
    execFileSync('go', ['build', '-mod=readonly', '-o', program, '.'], { cwd, stdio: 'inherit' });
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const reader = { key: readerName(publicKey), sign: (message: Uint8Array) => sign(null, message, privateKey) };
    server = parts.adopt(await startLogServer({ entries: FIRST, readers: [reader.key] }), (each) => each.stop());
    const channel = parts.use(await connect(server.target, { references: server.references }));
    const log = new LogReader(channel, { reader });
    await copyLog(log, copy(), { withEntries: true });
    await cp(join(copy(), 'checkpoint'), older());
    server.log.grow(MORE);
    server.log.sign();
    const { checkpoint } = await copyLog(log, copy(), { withEntries: true });
    key = checkpoint.key;
  });
  after(() => parts.disposeAsync());

  test('note, entries, proofs of records and of earlier sizes hold', async (t) => {
    const { stdout } = await run(program, [copy(), key, older()]);
    const size = FIRST + MORE;
    const records = Math.ceil(size / 7);
    assert.deepEqual(JSON.parse(stdout), { entries: size, records, sizes: Math.floor(size / 100), older: 1 });
    t.diagnostic(`${size} entries, ${records} proofs of records, ${Math.floor(size / 100) + 1} of earlier sizes`);
  });

  for (const file of ['checkpoint', 'tile/0/000', 'tile/1/000.p/8', 'tile/entries/003', 'tile/entries/008.p/229'])
    test(`a bit changed in ${file} is refused`, async () => {
      const changed = join(folder, 'changed');
      await cp(copy(), changed, { recursive: true });
      const bytes = await readFile(join(changed, file));
      bytes[40] = (bytes[40] ?? 0) ^ 1;
      await writeFile(join(changed, file), bytes);
      await assert.rejects(run(program, [changed, key]), { code: 1 });
      await rm(changed, { recursive: true });
    });
});
