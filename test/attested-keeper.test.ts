/** Sealed state of a machine without a TPM is there after its next boot, by a peer that keeps its keys, and goes back for no host. */

import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { type ConnectOptions, connect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import type { BuiltBundle } from '@enclaim/image';
import { RefusalError } from '@enclaim/runtime';
import { Client, credentials } from '@grpc/grpc-js';
import { type Swtpm, startSwtpm } from './fakes/swtpm.ts';
import type { AttestedRuntime } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';
import {
  bootKeeper,
  bootSnp,
  bootTdx,
  enclave,
  Forwarder,
  keeperOf,
  keepsOf,
  keptBundle,
  psp,
  snpReferences,
  tdxReferences,
} from './support/kept-machines.ts';
import { type Booted, intelServices, now, referencesFor } from './support/silicon.ts';

const NOTE = { key: 'the-key-of-a-note', text: 'the text of a note that outlives a boot' };

let folder: string;
let swtpm: Swtpm;
let forwarder: Forwarder;
let keeper: AttestedRuntime | undefined;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-kept-'));
  swtpm = await startSwtpm({ certified: true });
  forwarder = await Forwarder.listen();
});
after(async () => {
  await stopKeeper();
  forwarder.close();
  await swtpm.stop();
  await rm(folder, { recursive: true });
});

async function stopKeeper(): Promise<void> {
  const running = keeper;
  keeper = undefined;
  forwarder.to = null;
  await running?.stop();
}

async function startKeeper(bundle: BuiltBundle, disk: string): Promise<void> {
  await stopKeeper();
  keeper = await bootKeeper(bundle, swtpm, { logFile: at(disk) });
  forwarder.to = keeper.runtime.port;
}

async function called(
  { target }: Booted,
  options: ConnectOptions,
  name: string,
  request: JsonValue,
): Promise<JsonValue> {
  await using channel = await connect(target, { now, ...options });
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

const longOf = async (booted: Booted, options: ConnectOptions): Promise<unknown> =>
  ((await called(booted, options, 'Get', { key: NOTE.key })) as { long: string }).long;

const refusedAs =
  (code: string, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof RefusalError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

describe('a machine on SEV-SNP', () => {
  let keeperBundle: BuiltBundle;
  let bundle: BuiltBundle;
  let options: { readonly references: References };

  before(async () => {
    keeperBundle = await keptBundle(folder, { keeps: await keepsOf() });
    bundle = await keptBundle(folder, { keeper: await keeperOf(swtpm, forwarder.port, keeperBundle.policy) });
    options = { references: referencesFor(bundle, psp.pins, await snpReferences()) };
  });

  test('without its keeper says so, and does not serve', async () => {
    await assert.rejects(bootSnp(bundle, { logFile: at('asker') }), refusedAs('keeper', /keeper\.example/));
  });

  test('reads what it wrote before, after boots of its own and of its keeper', async () => {
    await startKeeper(keeperBundle, 'keeper');
    const first = await bootSnp(bundle, { logFile: at('asker') });
    const { storage } = first.runtime.statement;
    assert.deepEqual([storage?.keeper, storage?.epoch, storage?.began], ['peer', 1, 'new']);
    assert.equal(storage?.peer?.policy, keeperBundle.policy);
    await called(first, options, 'Put', NOTE);
    assert.equal(await longOf(first, options), NOTE.text);
    await first.stop();
    await copyFile(at('asker'), at('yesterday'));
    await startKeeper(keeperBundle, 'keeper');
    const second = await bootSnp(bundle, { logFile: at('asker') });
    const again = second.runtime.statement.storage;
    assert.deepEqual([again?.keeper, again?.epoch, again?.began], ['peer', 2, 'kept']);
    assert.equal(await longOf(second, options), NOTE.text);
    await second.stop();
  });

  test('refuses the disk of yesterday by name', async () => {
    await assert.rejects(
      bootSnp(bundle, { logFile: at('yesterday') }),
      refusedAs('state', /stored state of epoch 1, and the keeper is at epoch 2/),
    );
  });

  test('refuses a keeper under another policy', async () => {
    const other = await keptBundle(folder, { keeps: await keepsOf() }, (text) => text.replace('wrote', 'writes'));
    await startKeeper(other, 'other-keeper');
    await assert.rejects(bootSnp(bundle, { logFile: at('asker') }), refusedAs('keeper', /not who the policy names/));
  });
});

describe('a machine on TDX under the policy of its keeper', () => {
  test('reads what it wrote before', async () => {
    await stopKeeper();
    const bundle = await keptBundle(folder, {
      keeper: await keeperOf(swtpm, forwarder.port, 'same'),
      keeps: await keepsOf(),
    });
    await startKeeper(bundle, 'same-keeper');
    const references = referencesFor(bundle, enclave.pins, tdxReferences(bundle));
    const options = { references, collateral: intelServices(enclave) };
    const first = await bootTdx(bundle, { logFile: at('td') });
    await called(first, options, 'Put', NOTE);
    await first.stop();
    const second = await bootTdx(bundle, { logFile: at('td') });
    assert.equal(second.runtime.statement.storage?.began, 'kept');
    assert.equal(await longOf(second, options), NOTE.text);
    await second.stop();
  });
});
