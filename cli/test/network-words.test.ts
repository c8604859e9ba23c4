/** The words that state addresses: the same bytes for who starts a guest and for who refers to it, and never more than words. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatManifest, projectRoot } from '@enclaim/image';
import { parseCommandLine } from '../../guest/src/linux/command-line.ts';
import { SAMPLE } from '../../image/test/manifest.ts';
import { withNetwork } from '../src/network-words.ts';

const FLAGS = { dns: '10.0.2.3,2001:db8::35', ip6: 'fd00::15/64,fe80::1', ip: 'off' };
const LINE = 'quiet enclaim.ip=off enclaim.ip6=fd00::15/64,fe80::1 enclaim.dns=10.0.2.3,2001:db8::35';

test('words in one order, as the guest reads them', () => {
  assert.equal(withNetwork('quiet', FLAGS), LINE);
  assert.equal(withNetwork('quiet', {}), 'quiet');
  assert.equal(parseCommandLine(LINE).network.dns?.length, 2);
});

for (const value of ['', 'dhcp lockdown=none', 'off\tinit=/x', 'fe80::1%eth0', 'a=b', '"off"', 'x'.repeat(201)])
  test(`refuses ${JSON.stringify(value.slice(0, 20))}`, () => {
    assert.throws(() => withNetwork('quiet', { ip: value }), { name: 'UsageError' });
  });

test('references name the line with them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-network-words-'));
  try {
    await writeFile(join(folder, 'manifest.json'), formatManifest(SAMPLE));
    const policy = join(projectRoot, 'examples/clinic/policy.yaml');
    const options = Object.entries(FLAGS).flatMap(([key, value]) => [`--${key}`, value]);
    const args = ['references', '--manifest', 'manifest.json', '--policy', policy, '--any-bundle', '-o', 'out.json'];
    const main = join(projectRoot, 'cli/src/main.ts');
    const { status, stderr } = spawnSync(process.execPath, [main, ...args, ...options], {
      cwd: folder,
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    const [image] = JSON.parse(await readFile(join(folder, 'out.json'), 'utf8')).images;
    assert.equal(image.commandLine, withNetwork(SAMPLE.references.tpm.commandLine, FLAGS));
  } finally {
    await rm(folder, { recursive: true });
  }
});
