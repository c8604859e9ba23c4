/**
 * `node bench/fuzz-vendors.ts [RUNS [WORDS OF A NAME]]`: random and structure-aware inputs for
 * every parser of vendors' formats; ends at the first surprise.
 */

import assert from 'node:assert/strict';
import { parseHclReport } from '../attestation/src/azure/index.ts';
import { utf8 } from '../attestation/src/bytes.ts';
import { type CborValue, decodeCbor, encodeCbor, parseSign1 } from '../attestation/src/cbor/index.ts';
import { DecodeError } from '../attestation/src/errors.ts';
import { readGceInstance } from '../attestation/src/gcp/index.ts';
import { parseFirmware } from '../attestation/src/measure/ovmf.ts';
import { parseTdvf } from '../attestation/src/measure/tdvf.ts';
import { parseNitroDocument } from '../attestation/src/nitro/index.ts';
import { encodeCorim, parseComid, parseCorim, parseEarClaims } from '../attestation/src/rats/index.ts';
import { parseCertificateTable, parseReport, readEndorsementKey } from '../attestation/src/snp/index.ts';
import { parseQuote, parseTdReport, readPckPlatform } from '../attestation/src/tdx/index.ts';
import {
  formatCheckpoint,
  formatNoteKey,
  noteKey,
  parseCheckpoint,
  parseEntries,
  parseLogProof,
  parseNote,
  parseNoteKey,
  parseTilePath,
} from '../attestation/src/tlog/index.ts';
import { parseCertificate, parseCrl, parsePem } from '../attestation/src/x509/index.ts';
import { pemOf } from '../test/fakes/certificates.ts';
import { fakeFirmware } from '../test/fakes/firmware.ts';
import { FakeGce } from '../test/fakes/gce.ts';
import { FakeParavisor } from '../test/fakes/paravisor.ts';
import { FakePsp } from '../test/fakes/psp.ts';
import { FakeQuotingEnclave } from '../test/fakes/quoting-enclave.ts';
import { FakeTrustDomain } from '../test/fakes/trust-domain.ts';

const RUNS = Number(process.argv[2] ?? 1_000_000);
const ONLY = process.argv[3] ?? '';
/**
 * Milliseconds that the slowest input may take when it is parsed again, by itself. The first time
 * says less: pauses of a busy machine, compiling and collecting garbage fall to whichever input
 * they meet.
 */
const LIMIT = 5;
/** How often it is parsed again; the least of it counts. */
const AGAIN = 20;
/**
 * Inputs blown up to this many bytes, so that a parser shows whether its time grows faster than its
 * input.
 */
const GROWN = 1 << 20;
const GROWTHS = 60;
/** Milliseconds that such an input may take: twenty times what reading it as text takes. */
const MAX_GROWN_MS = 200;

const psp = new FakePsp();
const qe = new FakeQuotingEnclave();
const report = psp.report();
const hcl = new FakeParavisor().hclReport({ platform: 'snp', hardwareReport: report });
const gce = new FakeGce();
const [vtpm = new Uint8Array()] = gce.certificates(gce.signer.spki);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const corim = encodeCorim({
  id: 'id',
  profile: 'tag:example',
  tagId: new Uint8Array(16),
  references: [{ vendor: 'v', model: 'm', digests: [{ key: 'k', algorithm: 'sha256', value: new Uint8Array(32) }] }],
});
const td = new FakeTrustDomain(qe, { mrTd: new Uint8Array(48), events: [] });
const comid = encodeCbor(
  new Map<number, CborValue>([
    [1, new Map([[0, 'id']])],
    [4, new Map([[0, [[new Map([[0, new Map([[1, 'v']])]]), [new Map([[1, new Map([[1, 2]])]])]]]]])],
  ]),
);
const nitro = encodeCbor(
  new Map<string, CborValue>([
    ['module_id', 'i'],
    ['timestamp', 1],
    ['digest', 'SHA384'],
    ['pcrs', new Map([[0, new Uint8Array(48)]])],
    ['certificate', new Uint8Array(9)],
    ['cabundle', [new Uint8Array(9)]],
  ]),
);
const checkpoint = formatCheckpoint({ origin: 'example.com/log', size: 7, root: new Uint8Array(32), extensions: [] });
const note = `${checkpoint}\n— example.com/log AAAAAAAA\n`;
const claims =
  '{"eat_profile":"tag:github.com,2023:veraison/ear","iat":1,"ear.verifier-id":{"build":"b","developer":"d"},"submods":{"t":{"ear.status":2}}}';

/** Each parser with an example that it accepts. */
const PARSERS: readonly (readonly [string, (bytes: Uint8Array) => unknown, Uint8Array])[] = [
  ['certificate', parseCertificate, psp.leaf],
  ['VCEK extensions', (bytes) => readEndorsementKey(parseCertificate(bytes)), psp.leaf],
  ['PCK extension', (bytes) => readPckPlatform(parseCertificate(bytes)), qe.pckDer],
  ['CRL', parseCrl, psp.crl(1, 2, 3)],
  ['PEM', (bytes) => parsePem(text(bytes), 'CERTIFICATE'), utf8(pemOf(psp.leaf))],
  ['SNP report', parseReport, report],
  ['certificate table', parseCertificateTable, new Uint8Array(48)],
  ['TDX quote', parseQuote, qe.quote()],
  ['TDREPORT', parseTdReport, td.tdReport()],
  ['HCL report', parseHclReport, hcl],
  ['GCE instance', (bytes) => readGceInstance(parseCertificate(bytes)), vtpm],
  ['CBOR', (bytes) => decodeCbor(bytes, { indefinite: true }), nitro],
  ['COSE_Sign1', parseSign1, encodeCbor([new Uint8Array(), new Map(), nitro, new Uint8Array(96)])],
  ['Nitro document', parseNitroDocument, nitro],
  ['CoRIM', parseCorim, corim],
  ['CoMID', parseComid, comid],
  ['EAR claims', parseEarClaims, utf8(claims)],
  ['note', (bytes) => parseNote(text(bytes)), utf8(note)],
  ['note key', (bytes) => parseNoteKey(text(bytes)), utf8(formatNoteKey(noteKey('a', 'ed25519', new Uint8Array(32))))],
  ['checkpoint', (bytes) => parseCheckpoint(text(bytes)), utf8(checkpoint)],
  ['log proof', (bytes) => parseLogProof(text(bytes)), utf8(`c2sp.org/tlog-proof@v1\nindex 3\n\n${note}`)],
  ['tile path', (bytes) => parseTilePath(text(bytes)), utf8('tile/3/x001/x234/067.p/8')],
  ['entry bundle', parseEntries, Uint8Array.of(0, 3, 1, 2, 3, 0, 0)],
  [
    'firmware',
    (bytes) => parseTdvf(parseFirmware(bytes)),
    fakeFirmware({ pages: 1, tdxSections: [[0, 0, 0, 4096, 3, 0]] }),
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

/**
 * The example cut, joined with a part of itself, and with a few bytes changed; now and then noise
 * alone.
 */
function mutate(example: Uint8Array): Uint8Array {
  if (random(8) === 0) return Uint8Array.from({ length: random(200) }, () => random(256));
  const end = random(4) === 0 ? random(example.length) : example.length;
  const bytes = Uint8Array.from(
    random(6) === 0
      ? Buffer.concat([example.subarray(0, end), example.subarray(random(example.length))])
      : example.subarray(0, end),
  );
  for (let i = random(6); i > 0 && bytes.length > 0; i--) {
    bytes[random(bytes.length)] = random(2) === 0 ? (EDGES[random(EDGES.length)] ?? 0) : random(256);
  }
  return bytes;
}

/** The example with a part of it, or one octet, repeated in its place up to {@link GROWN} bytes. */
function grow(example: Uint8Array): Uint8Array {
  const from = random(example.length);
  const to = Math.min(example.length, from + 1 + random(64));
  const part = random(3) === 0 ? Uint8Array.of(random(256)) : example.subarray(from, to);
  const middle = Buffer.alloc(GROWN, part);
  return Buffer.concat([example.subarray(0, from), middle, example.subarray(to)]);
}

/** Milliseconds that `run` takes. */
function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** The least of several times: what pauses add is left out. */
function least(times: number, run: () => void): number {
  return Math.min(...Array.from({ length: times }, () => timed(run)));
}

for (const [name, parse, example] of PARSERS) {
  if (!name.includes(ONLY)) continue;
  const began = performance.now();
  parse(example);
  let accepted = 0;
  const attempt = (bytes: Uint8Array): void => {
    try {
      parse(bytes);
      accepted++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, `${name}: ${bytes.subarray(0, 4096).toHex()}: ${error}`);
    }
  };
  let slowest = { took: 0, bytes: example };
  for (let run = 0; run < RUNS; run++) {
    const bytes = mutate(example);
    const took = timed(() => attempt(bytes));
    if (took > slowest.took) slowest = { took, bytes };
  }
  const count = accepted;
  const again = least(AGAIN, () => attempt(slowest.bytes));
  const grown = Math.max(
    ...Array.from({ length: GROWTHS }, () => {
      const bytes = grow(example);
      return least(3, () => attempt(bytes));
    }),
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const megabytes = Math.round(process.memoryUsage.rss() / 2 ** 20);
  const times = `slowest ${slowest.took.toFixed(1)} ms, the same again ${again.toFixed(3)} ms, 1 MiB ${grown.toFixed(1)} ms`;
  console.log(`${name.padEnd(20)} ${RUNS} inputs, ${count} accepted, ${seconds} s, ${times}, ${megabytes} MB`);
  assert.ok(again < LIMIT, `${name}: ${again} ms for ${slowest.bytes.toHex()}`);
  assert.ok(grown < MAX_GROWN_MS, `${name}: ${grown} ms for 1 MiB`);
}
