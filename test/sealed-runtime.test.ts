/** What a machine stores is there after its next boot, from an attested client's side, and under no other policy or disk. */

import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { connect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { RefusalError } from '@enclaim/runtime';
import { Client, credentials } from '@grpc/grpc-js';
import { type Swtpm, startSwtpm } from './fakes/swtpm.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';

const APP = join(import.meta.dirname, 'sealed-app');
const NOTE = { key: 'the-key-of-a-note', text: 'the text of a note that no disk may show' };
/** Milliseconds that the app keeps short notes. */
const SHORT_MS = 20_000;

let folder: string;
let bundle: BuiltBundle;
let swtpm: Swtpm;
let server: AttestedRuntime | undefined;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-sealed-'));
  swtpm = await startSwtpm({ certified: true });
  bundle = await bundleOf(join(APP, 'policy.yaml'));
});
after(async () => {
  await stop();
  await swtpm.stop();
  await rm(folder, { recursive: true });
});

function bundleOf(policyFile: string): Promise<BuiltBundle> {
  return buildBundle({
    policyFile,
    protoDir: join(APP, 'proto'),
    handlersEntry: join(APP, 'handlers/index.ts'),
  });
}

async function stop(): Promise<void> {
  const running = server;
  server = undefined;
  await running?.stop();
}

/** Boots the machine again, on its TPM. */
async function boot(of: BuiltBundle = bundle): Promise<AttestedRuntime> {
  await stop();
  await swtpm.powerCycle();
  server = await bootAttested(of, { swtpm, logFile: at('disk') });
  return server;
}

async function called(name: string, request: JsonValue): Promise<JsonValue> {
  const { target, references } = server ?? assert.fail('no machine runs');
  await using channel = await connect(target, { references });
  const { registry } = await describeServices(channel, { deadline: Date.now() + HANGS_MS });
  const method = registry.getService('kept.v1.Notes')?.methods.find((each) => each.name === name) ?? assert.fail();
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
  const same = (message: Buffer): Buffer => message;
  const answer = await new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(`/kept.v1.Notes/${name}`, same, same, bytes, (error, message) =>
      error === null && message !== undefined ? resolve(message) : reject(error),
    );
  });
  return toJson(method.output, fromBinary(method.output, answer));
}

test('a note is there after the next boot, which states the epoch that it began', async () => {
  const first = await boot();
  assert.deepEqual(first.runtime.statement.storage, { keeper: 'tpm', epoch: 1, began: 'new' });
  const from = Date.now();
  await called('Put', NOTE);
  const there = await called('Get', { key: NOTE.key });
  if (Date.now() < from + SHORT_MS) assert.deepEqual(there, { long: NOTE.text, short: NOTE.text });
  const second = await boot();
  assert.deepEqual(second.runtime.statement.storage, { keeper: 'tpm', epoch: 2, began: 'kept' });
  assert.equal(((await called('Get', { key: NOTE.key })) as { long: string }).long, NOTE.text);
});

test('what is past its retention is gone, also after a boot', async () => {
  await setTimeout(SHORT_MS + 1000);
  assert.deepEqual(await called('Get', { key: NOTE.key }), { long: NOTE.text });
  await boot();
  assert.deepEqual(await called('Get', { key: NOTE.key }), { long: NOTE.text });
});

test('the disk shows neither value nor key, and a disk of before is refused', async () => {
  await stop();
  await copyFile(at('disk'), at('before'));
  const disk = await readFile(at('disk'));
  assert.ok(disk.includes('kept.v1.Notes/Put'), 'it has the records');
  for (const secret of [NOTE.key, NOTE.text, NOTE.text.slice(4, 20)]) assert.ok(!disk.includes(secret), secret);
  await boot();
  await stop();
  await copyFile(at('disk'), at('now'));
  await copyFile(at('before'), at('disk'));
  await assert.rejects(boot(), (error) => error instanceof RefusalError && error.code === 'state');
  await copyFile(at('now'), at('disk'));
  await boot();
  assert.deepEqual(await called('Get', { key: NOTE.key }), { long: NOTE.text });
});

test('another policy, by one character, does not open what is sealed, and does not destroy it', async () => {
  const policy = (await readFile(join(APP, 'policy.yaml'), 'utf8')).replace('a person wrote', 'a person writes');
  await writeFile(at('other.yaml'), policy);
  await assert.rejects(
    boot(await bundleOf(at('other.yaml'))),
    (error) => error instanceof RefusalError && error.code === 'state',
  );
  await boot();
  assert.deepEqual(await called('Get', { key: NOTE.key }), { long: NOTE.text });
});

test('a policy that seals nothing does not write over what another has sealed', async () => {
  const sealed = await readFile(join(APP, 'policy.yaml'), 'utf8');
  const [said = ''] = sealed.replaceAll('storage: sealed', 'storage: volatile').split(/^claims:/m);
  const policy = `${said}claims: []\n`;
  await writeFile(at('volatile.yaml'), policy);
  const refused = (error: unknown): boolean =>
    error instanceof RefusalError &&
    error.code === 'state' &&
    /no collection of the policy is sealed/.test(error.message);
  await assert.rejects(boot(await bundleOf(at('volatile.yaml'))), refused);
  await boot();
  assert.deepEqual(await called('Get', { key: NOTE.key }), { long: NOTE.text });
});
