/**
 * A program that protobuf's conformance runner tests, over its pipe (conformance.proto: a length of
 * four bytes and a ConformanceRequest, again and again). It answers that it skips each, and meanwhile
 * reads or writes the message by the transcoder beside the reference. At the end it writes what came
 * of them to a file.
 */

import { existsSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { Transcoders } from '../../../runtime/src/message/transcoder/transcoders.ts';
import type { Json } from '../../../runtime/src/worker/json-text.ts';
import { Beside } from '../../../runtime/test/transcoder/equal.ts';

const [, , descriptorsFile = '', tallyFile = ''] = process.argv;
const { registry } = readDescriptors(new Uint8Array(readFileSync(descriptorsFile)));
const pairs = new Map<string, Beside | undefined>();
// The runner starts it once for each of its suites.
const { tally, differences }: Result = existsSync(tallyFile)
  ? JSON.parse(readFileSync(tallyFile, 'utf8'))
  : { tally: {}, differences: [] };

const request = typeOf('conformance.ConformanceRequest');
const response = typeOf('conformance.ConformanceResponse');
const answer = toBinary(response, create(response, { result: { case: 'skipped', value: 'compared' } } as never));

for (let length = read(4); length !== undefined; length = read(4)) {
  const message = fromBinary(request, read(length.readUInt32LE()) ?? new Uint8Array()) as Message & Asked;
  compare(message);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(answer.length);
  writeSync(1, Buffer.concat([head, answer]));
  // The runner ends a program without waiting for it.
  writeFileSync(tallyFile, JSON.stringify({ tally, differences }));
}

interface Result {
  readonly tally: Record<string, number>;
  readonly differences: string[];
}

interface Asked {
  readonly messageType: string;
  readonly payload:
    | { readonly case: 'protobufPayload'; readonly value: Uint8Array }
    | { readonly case: 'jsonPayload'; readonly value: string }
    | { readonly case: undefined };
}

function compare({ messageType, payload }: Asked): void {
  const pair = pairOf(messageType);
  for (const searched of [false, true]) {
    try {
      if (pair === undefined) count('of a type without a transcoder');
      else if (payload.case === 'protobufPayload') count(`bytes ${pair.read(payload.value, searched)}`);
      else if (payload.case === 'jsonPayload') {
        const json = parsed(payload.value);
        count(json === undefined ? 'no JSON' : `JSON ${pair.write(json, searched)}`);
      } else count('in another form');
    } catch (error) {
      differences.push(`${messageType} ${String(error)}`);
    }
  }
}

function count(what: string): void {
  tally[what] = (tally[what] ?? 0) + 1;
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function pairOf(name: string): Beside | undefined {
  if (!pairs.has(name)) {
    const type = registry.getMessage(name);
    const transcoders = type && new Transcoders([type], registry);
    pairs.set(name, type && transcoders?.of(type) ? new Beside(type, registry, transcoders) : undefined);
  }
  return pairs.get(name);
}

function typeOf(name: string): DescMessage {
  const type = registry.getMessage(name);
  if (type === undefined) throw new Error(`no ${name}`);
  return type;
}

/** Bytes of standard input; undefined at its end. */
function read(length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const more = readSync(0, bytes, at, length - at, null);
    if (more === 0) return undefined;
    at += more;
  }
  return bytes;
}
