/** An app that the runtime refuses takes nothing from the one that was served, and two sessions never share a folder. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RefusalError } from '@enclaim/runtime';
import { ServedApp } from '../src/dev/served-app.ts';
import type { BuiltApp } from '../src/dev/session.ts';
import { lockFolder } from '../src/folder-lock.ts';
import { UsageError } from '../src/usage-error.ts';

/** An app of a name, as far as this looks at one. */
const app = (name: string): BuiltApp => ({ bundle: { policy: name } }) as unknown as BuiltApp;

/** A machine that serves one app at a time, and refuses some. */
function machine(refuses: (name: string) => Error | undefined) {
  const events: string[] = [];
  const served = new ServedApp(async ({ bundle }) => {
    const refusal = refuses(bundle.policy);
    if (refusal !== undefined) throw refusal;
    events.push(`serves ${bundle.policy}`);
    return { close: async () => void events.push(`closes ${bundle.policy}`) };
  });
  return { served, events };
}

test('the next app takes the place of the one before', async () => {
  const { served, events } = machine(() => undefined);
  assert.equal(served.isServing, false);
  await served.replace(app('one'));
  await served.replace(app('two'));
  await served.close();
  assert.deepEqual(events, ['serves one', 'closes one', 'serves two', 'closes two']);
  assert.equal(served.isServing, false);
});

test('one that the runtime refuses leaves the one before served', async () => {
  const { served, events } = machine((name) => (name === 'bad' ? new RefusalError('policy', 'no') : undefined));
  await assert.rejects(served.replace(app('bad')), { code: 'policy' });
  assert.equal(served.isServing, false);
  await served.replace(app('one'));
  await assert.rejects(served.replace(app('bad')), { code: 'policy' });
  assert.equal(served.isServing, true);
  assert.deepEqual(events, ['serves one', 'closes one', 'serves one']);
});

test('a fault of the machine is not tried twice', async () => {
  const { served } = machine((name) => (name === 'two' ? new Error('no port') : undefined));
  await served.replace(app('one'));
  await assert.rejects(served.replace(app('two')), /no port/);
  assert.equal(served.isServing, false);
});

test('a folder is held by one session, by whatever path, until that ends', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-lock-'));
  t.after(() => rm(folder, { recursive: true }));
  const [own, link] = [folder, join(folder, 'link')];
  await symlink(own, link);
  {
    await using _held = await lockFolder(own, 'enclaim-test', 'end it');
    for (const path of [own, link]) await assert.rejects(lockFolder(path, 'enclaim-test', 'end it'), UsageError);
  }
  await using _again = await lockFolder(link, 'enclaim-test', 'end it');
});
