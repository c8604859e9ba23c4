/** Limits in the help of commands, in docs/reference/limits.md and in the code: the same. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAX_METADATA_BYTES, MAX_METADATA_ENTRIES } from '@enclaim/attestation/grpc-request';
import { LIMITS } from '@enclaim/runtime/limits';

const root = join(import.meta.dirname, '../..');

for (const command of ['call', 'proxy', 'run']) {
  test(`enclaim ${command} --help states how long calls may last, and how much metadata they may have`, () => {
    const help = execFileSync(process.execPath, [join(root, 'cli/src/main.ts'), command, '--help'], {
      encoding: 'utf8',
    });
    assert.match(help, /a call +30 s, or what the policy's `wall` says, and never more than 600 s/);
    assert.match(help, /a stream +60 s, or 60 s more than the longest `wall`/);
    assert.match(help, /a message +4 MiB/);
    assert.match(help, /metadata +64 entries and 16 KiB/);
  });
}

test('docs/reference/limits.md has the same', () => {
  const docs = readFileSync(join(root, 'docs/reference/limits.md'), 'utf8');
  const row = (name: string, text: string): RegExp => new RegExp(`^\\|${name}\\| .*${text}`, 'm');
  assert.equal(LIMITS.callOfPolicy, 10 * 60_000);
  assert.match(docs, row(' a call ', `ten minutes at most; without one, ${LIMITS.call / 1000} s[, ]`));
  const more = (LIMITS.call + LIMITS.taking) / 1000;
  assert.match(
    docs,
    row(' a stream of HTTP/2 ', `${LIMITS.stream / 1000} s, or ${more} s more than the longest \`wall\``),
  );
  assert.match(docs, row(' ', `${MAX_METADATA_ENTRIES} entries of metadata`));
  assert.match(docs, row(' ', `${MAX_METADATA_BYTES / 1024} KiB of header fields`));
});
