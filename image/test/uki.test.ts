/** A UKI has its sections where its table says, and its registers are those that are predicted. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DecodeError } from '@enclaim/attestation/errors';
import { authenticodeBytes, parsePe, readUki, sectionBytes } from '@enclaim/attestation/measure';
import { fc } from '../../test/support/properties.ts';
import { appendSections } from '../src/build/uki.ts';
import { ImageError } from '../src/errors.ts';
import { TINY, tinyPe } from './tiny-pe.ts';

const sections = [
  { name: '.cmdline', data: Buffer.from('quiet') },
  { name: '.initrd', data: Buffer.alloc(5000, 7) },
  { name: '.linux', data: tinyPe('kernel') },
];

test('appended sections are where the table says, aligned, in order, and nothing else moved', () => {
  const uki = appendSections(tinyPe(), sections);
  const image = parsePe(uki);
  assert.deepEqual(
    image.sections.map(({ name }) => name),
    ['.text', '.cmdline', '.initrd', '.linux'],
  );
  for (const [index, { name, data }] of sections.entries()) {
    const section = image.sections[index + 1];
    assert.ok(section);
    assert.deepEqual(Buffer.from(sectionBytes(image, section)), Buffer.from(data), name);
    assert.equal(section.virtualAddress % 4096, 0);
    assert.equal(section.rawOffset % 512, 0);
  }
  assert.equal(uki.length % 512, 0);
  assert.equal(new DataView(uki.buffer).getUint32(image.timestampAt, true), 0);
  assert.equal(Buffer.from(uki.subarray(TINY.headers, TINY.headers + 4)).toString(), 'code');
});

test('the reference values are those of the parts', async () => {
  const uki = appendSections(tinyPe(), sections);
  const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
  let register: Uint8Array = new Uint8Array(32);
  for (const name of ['.linux', '.cmdline', '.initrd']) {
    const data = sections.find((section) => section.name === name)?.data ?? new Uint8Array();
    register = sha256(register, sha256(Buffer.from(`${name}\0`)));
    register = sha256(register, sha256(data));
  }
  const reference = await readUki(uki);
  assert.equal(reference.sections, `sha256:${register.toHex()}`);
  assert.equal(reference.initrd, `sha256:${sha256(Buffer.alloc(5000, 7)).toHex()}`);
  assert.equal(reference.id, `sha256:${sha256(uki).toHex()}`);
  assert.equal(reference.commandLine, 'quiet');
});

test('Authenticode passes over checksum and certificates, and nothing else', () => {
  const image = parsePe(tinyPe());
  const before = Buffer.from(authenticodeBytes(image)).toString('hex');
  const skipped = (at: number) => at >= image.checksumAt && at < image.checksumAt + 4;
  for (const at of [
    0,
    image.timestampAt,
    image.checksumAt,
    image.checksumAt + 3,
    TINY.headers,
    image.bytes.length - 1,
  ]) {
    const changed = image.bytes.with(at, (image.bytes[at] ?? 0) ^ 1);
    const after = Buffer.from(authenticodeBytes({ ...image, bytes: changed })).toString('hex');
    assert.equal(after === before, skipped(at), `byte ${at}`);
  }
});

test('a stub without room, a signed stub and a wrong section are refused', () => {
  const many = Array.from({ length: 40 }, (_, i) => ({
    name: `.s${String.fromCharCode(97 + (i % 26))}${i < 26 ? 'a' : 'b'}`,
    data: Buffer.from('x'),
  }));
  assert.throws(() => appendSections(tinyPe(), many), ImageError);
  for (const name of ['.text', 'linux', '.toolongname', '.UP']) {
    assert.throws(() => appendSections(tinyPe(), [{ name, data: Buffer.from('x') }]), ImageError, name);
  }
  assert.throws(() => appendSections(tinyPe(), [{ name: '.linux', data: new Uint8Array() }]), ImageError);
  const signed = Buffer.concat([tinyPe(), Buffer.alloc(16)]);
  signed.writeUInt32LE(signed.length - 16, TINY.optional + 144);
  signed.writeUInt32LE(16, TINY.optional + 148);
  assert.throws(() => appendSections(signed, sections), ImageError);
});

test('a UKI whose stub would measure another initrd or another kernel than ours is refused', async () => {
  for (const extra of ['.osrel', '.ucode']) {
    const uki = appendSections(tinyPe(), [...sections, { name: extra, data: Buffer.from('ID=x') }]);
    await assert.rejects(readUki(uki), DecodeError, extra);
  }
  for (const extra of ['.dtbauto', '.efifw', '.other', '.Linux']) {
    const strange = appendSections(tinyPe(), [...sections, { name: '.extra', data: Buffer.from('x') }]).slice();
    strange.set(Buffer.from(extra.padEnd(8, '\0')), TINY.table + 40 * (sections.length + 1));
    await assert.rejects(readUki(strange), DecodeError, extra);
  }
  const swollen = Buffer.from(appendSections(tinyPe(), sections));
  swollen.writeUInt32LE(600, TINY.table + 40 + 8); // .cmdline: more in memory than in the file
  await assert.rejects(readUki(swollen), DecodeError);
  const two = appendSections(tinyPe(), sections).slice();
  two.set(Buffer.from('.linux\0\0'), TINY.table + 40);
  await assert.rejects(readUki(two), DecodeError);
});

test('a parser of hostile headers ends in a value or a DecodeError', () => {
  const base = appendSections(tinyPe(), sections.slice(0, 1));
  const edits = fc.array(fc.tuple(fc.nat(TINY.headers - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(edits, fc.nat(base.length), (changes, cut) => {
      const bytes = base.slice();
      for (const [at, value] of changes) bytes[at] = value;
      for (const attack of [bytes, bytes.subarray(0, cut)]) {
        try {
          authenticodeBytes(parsePe(attack));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});
