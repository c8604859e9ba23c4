/**
 * `node bench/transcoder.ts`: the cost of reading and writing a message, by the transcoder and by
 * the reference walk (`runtime/src/message/message-walk.ts`), in one run.
 *
 * Microseconds of the processor and bytes of garbage a message: a flat one of 1 KiB, and cases of
 * the clinic (`examples/clinic/data`), which nest as FHIR does. Floors: the engine's own work on
 * the same JSON, and the library's on the same bytes.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { walkBytes, walkJson } from '../runtime/src/message/message-walk.ts';
import { Transcoders } from '../runtime/src/message/transcoder/transcoders.ts';
import type { Json } from '../runtime/src/worker/json-text.ts';

const RUNS = Number(process.env.RUNS ?? 40_000);
const ROUNDS = 5;
const clinic = join(import.meta.dirname, '../examples/clinic');

const FLAT = `syntax = "proto3"; package flat; import "enclaim/handling.proto";
  message Flat {
    option (enclaim.holds) = "operational";
    string id = 1; string kind = 2; int64 at = 3; double value = 4; bool active = 5; uint32 count = 6;
    string note = 7; bytes digest = 8 [(enclaim.data) = "operational"]; repeated string words = 9; string text = 10;
  }`;

const folder = mkdtempSync(join(tmpdir(), 'enclaim-bench-'));
cpSync(join(clinic, 'proto'), folder, { recursive: true });
writeFileSync(join(folder, 'flat.proto'), FLAT);
const { registry } = readDescriptors(await compileProtos(folder).finally(() => rmSync(folder, { recursive: true })));

const flat = {
  ...{ id: '7f3a9c2e-1b4d-4e8f-9a6b-2c5d8e0f1a3b', kind: 'measurement', at: '1764496800123', value: 37.25 },
  ...{ active: true, count: 42, note: 'taken at rest', digest: Buffer.alloc(32, 7).toString('base64') },
  ...{ words: ['blood', 'pressure', 'morning'], text: 'x'.repeat(820) },
};
const cases = JSON.parse(readFileSync(join(clinic, 'data/cases.json'), 'utf8')) as JsonValue[];

compare('flat', 'flat.Flat', [flat]);
compare('clinic', 'clinic.v1.SubmitRequest', cases.slice(0, 50));

function compare(name: string, typeName: string, values: readonly JsonValue[]): void {
  const type = registry.getMessage(typeName);
  const transcoder = type && new Transcoders([type], registry).of(type);
  if (type === undefined || transcoder === undefined) throw new Error(`no ${typeName}`);
  const messages = values.map((value) => toBinary(type, fromJson(type, value)));
  const texts = values.map((value) => JSON.stringify(value));
  const bytes = messages.reduce((sum, { length }) => sum + length, 0) / messages.length;
  console.log(`\n${name}: ${Math.round(bytes)} bytes a message${' '.repeat(20)}µs   bytes of garbage`);
  for (const searched of [false, true]) {
    const how = searched ? ', searched by detectors' : '';
    const walk = { type, registry, searched };
    row(`read: reference${how}`, messages, (each) =>
      JSON.stringify(walkBytes({ maker: 'request', ...walk }, each).json),
    );
    row(`read: transcoder${how}`, messages, (each) => transcoder.read(each, searched) ?? left());
    row(`write: reference${how}`, texts, (each) =>
      walkJson({ maker: 'response', ...walk }, JSON.parse(each) as Json).bytes(),
    );
    row(`write: transcoder${how}`, texts, (each) => transcoder.write(JSON.parse(each) as Json, searched) ?? left());
  }
  floors(type, messages, texts);
}

function floors(type: DescMessage, messages: readonly Uint8Array[], texts: readonly string[]): void {
  const parsed = texts.map((text) => JSON.parse(text) as JsonValue);
  const made = messages.map((each) => fromBinary(type, each));
  row('floor: JSON.parse', texts, (each) => JSON.parse(each));
  row('floor: JSON.stringify', parsed, (each) => JSON.stringify(each));
  row('floor: decoding alone', messages, (each) => fromBinary(type, each));
  row('floor: encoding alone', made, (each) => toBinary(type, each));
}

function left(): never {
  throw new Error('left to the reference');
}

/** The best of some rounds. */
function row<T>(name: string, inputs: readonly T[], work: (input: T) => unknown): void {
  let best = Number.POSITIVE_INFINITY;
  let garbage = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < RUNS; i++) work(inputs[i % inputs.length] as T);
    const { user, system } = process.cpuUsage(before);
    if (round > 0) best = Math.min(best, (user + system) / RUNS);
  }
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 100; i++) work(inputs[i % inputs.length] as T);
    const grown = (process.memoryUsage().heapUsed - before) / 100;
    if (grown > 0) garbage = Math.min(garbage, grown);
  }
  console.log(`  ${name.padEnd(46)}${best.toFixed(2).padStart(8)}${garbage.toFixed(0).padStart(10)}`);
}
