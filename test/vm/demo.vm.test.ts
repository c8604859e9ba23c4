/** The demonstration itself: what README promises is what CI sees. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

test('scripts/demo ends with a verified answer, four refusals and an audit', async () => {
  const child = spawn(join(root, 'scripts/demo'), { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  assert.equal(status, 0, said.split('\n').slice(-40).join('\n'));
  // With a stand-in, it would show another image.
  assert.doesNotMatch(said, /NOT THE PUBLISHED MEASUREMENT/);
  for (const shown of [
    'the case came back, with a receipt',
    'the receipt verifies against the pinned attestation key',
    'the withheld method is UNIMPLEMENTED',
    'flipped evidence is refused',
    'the case of the boot before came back',
    'the client refuses the policy before a byte is sent',
    'the guest refuses and powers off',
    'one verified answer, four refusals, one audit',
  ]) {
    assert(said.includes(shown), shown);
  }
});
