/** `enclaim release verify`: the proof's own checkpoint must continue what was seen, whatever else continues it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { jsonOf } from './json-of.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
let folder: string;
const at = (name: string): string => join(folder, name);

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function release(...args: string[]): Promise<Ended> {
  return run(process.execPath, [join(root, 'cli/src/main.ts'), 'release', ...args]).then(
    (ended) => ({ code: 0, ...ended }),
    (error: Ended) => error,
  );
}

let key: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-cli-release-'));
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFile(at('log.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const clinic = await readFile(join(root, 'examples/clinic/policy.yaml'), 'utf8');
  for (const name of ['a', 'b', 'evil']) {
    await writeFile(at(`${name}.yaml`), clinic.replace('before a visit.', `before a visit, by ${name}.`));
  }
  const signing = ['--log', at('main'), '--key', at('log.pem')];
  const { stdout } = await release('init', ...signing, '--origin', 'example.com/releases');
  key = stdout.trim();
  assert.equal((await release('add', at('a.yaml'), ...signing)).code, 0);
  await copyFile(at('main/checkpoint'), at('seen-1'));
  await copyFile(at('a.yaml.tlog-proof'), at('a-1.tlog-proof'));
  // The key's holder shows somebody else another tree: what the key signed last is put back with the folder.
  await cp(at('main'), at('fork'), { recursive: true });
  for (const file of ['', '.origin', '.signed']) await copyFile(at(`log.pem${file}`), at(`fork.pem${file}`));
  assert.equal((await release('add', at('evil.yaml'), '--log', at('fork'), '--key', at('fork.pem'))).code, 0);
  assert.equal((await release('add', at('b.yaml'), ...signing)).code, 0);
  await copyFile(at('main/checkpoint'), at('seen-2'));
});
after(() => rm(folder, { recursive: true }));

const verify = (file: string, ...args: string[]): Promise<Ended> =>
  release('verify', at(file), '--log-key', key, ...args);

describe('enclaim release verify', () => {
  test("refuses a fork's proof beside a folder that continues what was seen", async () => {
    assert.equal((await verify('evil.yaml')).code, 0, 'the proof by itself is good');
    for (const seen of ['seen-1', 'seen-2']) {
      const { code, stdout, stderr } = await verify('evil.yaml', '--log', at('main'), '--seen', at(seen));
      assert.deepEqual([code, stdout], [1, ''], seen);
      assert.match(stderr, /EvidenceError log: .*another view of the log/);
    }
  });

  test("refuses a fork's proof by the folder alone", async () => {
    const { code, stderr } = await verify('evil.yaml', '--log', at('main'));
    assert.equal(code, 1);
    assert.match(stderr, /EvidenceError log: .*another view of the log/);
  });

  test('refuses a proof by the folder of its fork, where what was seen is not in it', async () => {
    const { code, stderr } = await verify('evil.yaml', '--log', at('fork'), '--seen', at('seen-2'));
    assert.equal(code, 1);
    assert.match(stderr, /EvidenceError log: /);
  });

  test('refuses a proof that is older than what was seen', async () => {
    const old = ['--proof', at('a-1.tlog-proof'), '--log', at('main'), '--seen', at('seen-2')];
    const { code, stderr } = await verify('a.yaml', ...old);
    assert.equal(code, 1);
    assert.match(stderr, /went back from 2 to 1 entries/);
  });

  test('says as JSON what it says in words', async () => {
    const { code, stdout } = await verify('b.yaml', '--json');
    assert.equal(code, 0);
    const { release: name, ...log } = jsonOf('release verify', stdout);
    assert.deepEqual(log, { origin: 'example.com/releases', size: 2 });
    assert.match((await verify('b.yaml')).stdout, new RegExp(`^${name} is in `));
    const keys = ['--log-key', key];
    const checked = await release('check', at('main'), ...keys, '--seen', at('seen-1'), '--json');
    assert.equal(checked.code, 0);
    const { releases, ...whole } = jsonOf('release check', checked.stdout);
    assert.deepEqual(whole, { origin: 'example.com/releases', size: 2, continues: 1 });
    assert.equal(`${releases.join('\n')}\n`, (await release('check', at('main'), ...keys)).stdout);
    assert.equal(JSON.parse((await release('check', at('main'), ...keys, '--json')).stdout).continues, null);
  });

  test('takes a proof that continues what was seen', async () => {
    for (const seen of ['seen-1', 'seen-2']) {
      const { code, stdout } = await verify('b.yaml', '--log', at('main'), '--seen', at(seen));
      assert.equal(code, 0, seen);
      assert.match(stdout, /is in example\.com\/releases, at 2 entries/);
    }
    const old = ['--proof', at('a-1.tlog-proof'), '--log', at('main'), '--seen', at('seen-1')];
    assert.equal((await verify('a.yaml', ...old)).code, 0, 'the folder may have grown since the proof');
  });
});
