/**
 * Our witness, asked by a log that nobody here wrote: Tessera, at the version of tessera-witness/go.mod, which reads our lines of
 * tlog-policy and publishes no checkpoint without their quorum. `scripts/test-engines`.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import {
  formatNoteKey,
  type NoteKey,
  noteKey,
  parseCheckpoint,
  parseNoteKey,
  verifyNote,
} from '../../attestation/src/tlog/index.ts';
import type { CosigningKey } from '../../cli/src/witness/signer.ts';
import { needs } from '../support/machine-needs.ts';
import { openWitness, witnessKeys } from '../support/witnessed-log.ts';

const run = promisify(execFile);

const plainKey = ({ key }: CosigningKey): NoteKey => noteKey(key.name, 'ed25519', key.publicKey);

describe('Tessera and our witness', needs('go'), () => {
  let folder: string;
  let program: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-tessera-'));
    program = join(folder, 'tessera-witness');
    execFileSync('go', ['build', '-o', program, '.'], {
      cwd: join(import.meta.dirname, 'tessera-witness'),
      stdio: 'inherit',
    });
  });
  after(() => rm(folder, { recursive: true }));

  test('a log of its grows under the cosignatures of two of ours', async () => {
    const { stdout } = await run(program, ['example.com/tessera']);
    const [key = '', vkey = ''] = stdout.trim().split('\n');
    const log = { origin: 'example.com/tessera', key: parseNoteKey(vkey) };
    await using one = await openWitness([log], { keys: witnessKeys('example.com/one') });
    await using two = await openWitness([log], { keys: witnessKeys('example.com/two') });
    const line = (name: string, { keys: [classic] }: typeof one, url: string): string =>
      // Tessera 1.0.0 takes a witness's key as one of Ed25519 alone, and makes the id of its cosignatures of that.
      `witness ${name} ${formatNoteKey(plainKey(classic as CosigningKey))} ${url}`;
    const lines = [
      line('one', one, one.address),
      line('two', two, two.address),
      'group both all one two',
      'quorum both',
    ];
    await writeFile(join(folder, 'policy'), `${lines.join('\n')}\n`);
    const grown = await run(program, [join(folder, 'log'), join(folder, 'policy'), key]);
    assert.equal(grown.stdout.match(/^published \d+$/gm)?.length, 5, grown.stderr);
    const checkpoint = await readFile(join(folder, 'log/checkpoint'), 'utf8');
    const keys = [one, two].map(({ keys: [classic] }) => (classic as CosigningKey).key);
    const { text, verified } = await verifyNote(checkpoint, [log.key, ...keys]);
    assert.deepEqual([verified.length, parseCheckpoint(text).size], [3, 5]);
  });
});
