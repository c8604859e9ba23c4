/**
 * `node bench/fuzz-transcoder.ts [SECONDS] [SEED]`: the transcoder beside the reference, under a
 * fuzzer that follows coverage. It keeps and changes an input that reaches a block of the
 * transcoder which none before it did, or one more often by a power of two. It ends with the inputs
 * tried, the blocks reached and the outcomes; a difference ends it with the input.
 *
 * Coverage is that of the engine itself (Profiler.startPreciseCoverage of the inspector protocol).
 */

import { Session } from 'node:inspector';
import { Transcoders } from '../runtime/src/message/transcoder/transcoders.ts';
import type { Json } from '../runtime/src/worker/json-text.ts';
import { Chance } from '../runtime/test/transcoder/chance.ts';
import { Beside } from '../runtime/test/transcoder/equal.ts';
import { mutated, wildBytes } from '../runtime/test/transcoder/wild-bytes.ts';
import { wildDescriptors } from '../runtime/test/transcoder/wild-descriptors.ts';
import { mutatedText, wildJson } from '../runtime/test/transcoder/wild-json.ts';
import { wildTypes } from '../runtime/test/transcoder/wild-types.ts';

const [seconds = 60, seed = 1] = process.argv.slice(2).map(Number);
/** Inputs that are made anew before any is changed. */
const BEGINNINGS = 500;
/** Bytes or characters of the longest input. */
const MAX_LENGTH = 4096;
const COVERED = '/runtime/src/message/transcoder/';

/** A message of a type: its bytes, or its JSON as text. */
interface Input {
  readonly pair: Beside;
  readonly message: Uint8Array | string;
}

const descriptors = await wildDescriptors();
const { registry } = descriptors;
const wild = wildTypes(descriptors);
const transcoders = new Transcoders(wild, registry);
const pairs = wild.map((type) => new Beside(type, registry, transcoders));
const chance = new Chance(seed);
const reached = new Set<string>();
const kept: Input[] = [];
const outcomes: Record<string, number> = {};
let tried = 0;

Error.stackTraceLimit = 0;
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

const end = performance.now() + seconds * 1000;
while (performance.now() < end) {
  const input = kept.length === 0 || tried < BEGINNINGS || chance.once(20) ? made() : changed(chance.of(kept));
  if (input.message.length > MAX_LENGTH) continue;
  tried++;
  const outcome = judged(input);
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  if (newlyReached()) kept.push(input);
}
console.log(`${tried} inputs, ${kept.length} kept, ${reached.size} blocks reached by how often; seed ${seed}`);
console.log(JSON.stringify(outcomes));

function judged({ pair, message }: Input): string {
  const searched = chance.once(2);
  try {
    if (typeof message !== 'string') return `bytes ${pair.read(message, searched)}`;
    const json = parsed(message);
    return json === undefined ? 'no JSON' : `JSON ${pair.write(json, searched)}`;
  } catch (cause) {
    const shown = typeof message === 'string' ? message : Buffer.from(message).toString('hex');
    throw new Error(`${pair.type.typeName} ${shown}`, { cause });
  }
}

function made(): Input {
  const pair = chance.of(pairs);
  const odd = chance.of([10, 50, 500]);
  const message = chance.once(2) ? wildBytes(pair.type, chance, { odd, registry }) : wildJson(pair.type, chance, odd);
  return { pair, message };
}

function changed({ pair, message }: Input): Input {
  return { pair, message: typeof message === 'string' ? mutatedText(message, chance) : mutated(message, chance) };
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** Whether something was reached since the last look that never was before. */
function newlyReached(): boolean {
  const before = reached.size;
  session.post('Profiler.takePreciseCoverage', (error, coverage) => {
    if (error !== null) throw error;
    for (const { url, functions } of coverage.result) {
      if (!url.includes(COVERED)) continue;
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges)
          if (count > 0) reached.add(`${url} ${startOffset} ${endOffset} ${Math.floor(Math.log2(count))}`);
    }
  });
  return reached.size > before;
}
