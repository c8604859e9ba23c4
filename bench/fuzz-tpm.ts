/**
 * `node bench/fuzz-tpm.ts [RUNS]`: random and structure-aware inputs for every TPM parser; ends at
 * the first surprise.
 */

import assert from 'node:assert/strict';
import { concat, utf8 } from '../attestation/src/bytes.ts';
import { DecodeError } from '../attestation/src/errors.ts';
import { attest } from '../attestation/src/tpm/attest.ts';
import {
  encodePublic,
  eventLogLength,
  parseEventLog,
  parsePublic,
  parseSignature,
  pcrSelection,
  QUOTE_SELECTION,
} from '../attestation/src/tpm/index.ts';
import { tpmSignature } from '../attestation/src/tpm/signature.ts';
import { decodeWhole } from '../attestation/src/tpm/wire.ts';
import { fakeQuote } from '../test/fakes/attestation-key.ts';
import { agileLog, ipl, locality, sha1Log } from '../test/fakes/event-log.ts';

const RUNS = Number(process.argv[2] ?? 1_000_000);
/** Milliseconds that one input may take; a busy machine pauses for a good part of that. */
const LIMIT = 2000;

const quote = fakeQuote();
const selection = pcrSelection.encode([...QUOTE_SELECTION, { bank: 'sha1', pcrs: [0, 23] }]);

/** A parser. Its value, if it gives one, encodes to the input again; event logs have no encoder. */
const PARSERS: readonly (readonly [string, (bytes: Uint8Array) => Uint8Array | undefined, readonly Uint8Array[]])[] = [
  ['TPMT_PUBLIC', (bytes) => encodePublic(parsePublic(bytes)), [quote.akPublic]],
  ['TPMS_ATTEST', (bytes) => attest.encode(decodeWhole(attest, bytes, 'it')), [quote.attest]],
  ['TPMT_SIGNATURE', (bytes) => tpmSignature.encode(parseSignature(bytes)), [quote.signature]],
  ['TPML_PCR_SELECTION', (bytes) => pcrSelection.encode(decodeWhole(pcrSelection, bytes, 'it')), [selection]],
  [
    'event log',
    (bytes) => void parseEventLog(bytes),
    [agileLog(locality(3), ipl(0, 'firmware'), ipl(4, 'loader')), sha1Log(ipl(4, 'loader'), ipl(9, 'initrd'))],
  ],
  [
    'event log in its area',
    (area) => void eventLogLength(area),
    [concat(agileLog(ipl(1, 'firmware'), ipl(3, 'kernel')), new Uint8Array(64).fill(0xff)), new Uint8Array(64)],
  ],
];

/** xorshift32: the same inputs in every run. */
let state = 0x2545_f491;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const EDGES = Uint8Array.of(0, 1, 0x7f, 0x80, 0xff);

function mutate(example: Uint8Array, other: Uint8Array): Uint8Array {
  if (random(8) === 0) return Uint8Array.from({ length: random(200) }, () => random(256));
  const splice = random(4) === 0 ? random(other.length) : other.length;
  const bytes = new Uint8Array([
    ...example.subarray(0, example.length - (random(4) === 0 ? random(example.length) : 0)),
    ...other.subarray(splice),
  ]);
  for (let i = random(6); i > 0 && bytes.length > 0; i--) {
    bytes[random(bytes.length)] = random(2) === 0 ? (EDGES[random(EDGES.length)] ?? 0) : random(256);
  }
  return bytes;
}

for (const [name, parse, examples] of PARSERS) {
  const began = performance.now();
  let [accepted, longest] = [0, 0];
  const pick = (): Uint8Array => examples[random(examples.length)] ?? utf8('');
  for (let run = 0; run < RUNS; run++) {
    const bytes = mutate(pick(), pick());
    const start = performance.now();
    try {
      const again = parse(bytes);
      if (again !== undefined) assert.deepEqual(again, bytes);
      accepted++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, `${name}: ${bytes.toHex()}: ${error}`);
    }
    longest = Math.max(longest, performance.now() - start);
    assert.ok(longest < LIMIT, `${name}: ${longest} ms for ${bytes.toHex()}`);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const megabytes = Math.round(process.memoryUsage.rss() / 2 ** 20);
  console.log(
    `${name.padEnd(20)} ${RUNS} inputs, ${accepted} accepted, ${seconds} s, longest ${longest.toFixed(1)} ms, ${megabytes} MB`,
  );
}
