/** Evidence of other people's vectors as cases for both sides, where a peer judges its kind. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VENDOR_ANCHORS } from '../../../attestation/src/anchors.ts';
import { fromHex } from '../../../attestation/src/bytes.ts';
import { REPORT_LENGTH } from '../../../attestation/src/snp/index.ts';
import { quoteLength } from '../../../attestation/src/tdx/index.ts';
import { commonName, parseCertificate, parsePem, pinsOf } from '../../../attestation/src/x509/index.ts';
import { certificateIn, certificatesIn, crlIn, publicKeyIn } from '../../conformance/encoding.ts';
import type { Case } from '../../conformance/topic.ts';
import { VECTORS } from '../../support/machine-needs.ts';
import { type TestCase, type Trial, testCase } from './trial.ts';

type Bytes = Readonly<Record<string, Uint8Array>>;

/** Every case of a topic that has what its judges need. @param kind Which of the two judges of quotes. */
export async function vectorTrials(topic: string, kind?: 'tdx' | 'tdx-status'): Promise<Trial[]> {
  const dir = folderOf(topic);
  const { cases } = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { cases: Case[] };
  const read = (path: unknown): Buffer => readFileSync(join(dir, String(path)));
  switch (topic) {
    case 'snp-reports':
      return cases.flatMap((one) => trial(one.id, snpCase(one, read)));
    case 'tdx-quotes': {
      const root = intelRoot(cases, read);
      return cases.flatMap((one) => trial(one.id, tdxCase(one, read, root, kind ?? 'tdx')));
    }
    case 'tpm-eventlogs':
      return cases.flatMap((one) => logTrials(one, read));
    case 'tpm-quotes':
      return cases.flatMap((one) => trial(one.id, quoteCase(one, read)));
    case 'tlog':
      return cases.flatMap((one) => (typeof one.files.vectors === 'string' ? tlogTrials(one, read) : []));
  }
  throw new TypeError(`no peer judges ${topic}`);
}

/** A topic's folder has any name: its manifest says which topic it is. */
function folderOf(topic: string): string {
  for (const name of readdirSync(VECTORS)) {
    const folder = join(VECTORS, name);
    try {
      if (JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')).topic === topic) return folder;
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  throw new Error(`no vectors of ${topic}`);
}

type Read = (path: unknown) => Buffer;

function trial(id: string, test: TestCase | undefined): Trial[] {
  return test === undefined ? [] : [{ id, test }];
}

function snpCase({ files, expected }: Case, read: Read): TestCase | undefined {
  const leafRole = files.vlek === undefined ? 'vcek' : 'vlek';
  const { verify_at } = expected as { verify_at?: string };
  if (files.report === undefined || files[leafRole] === undefined || verify_at === undefined) return undefined;
  const given = ['trust', 'ask', 'trusted_ark'].flatMap((role) => [files[role] ?? []].flat());
  const issuers = given.flatMap((path) => certificatesIn(read(path)));
  const named = (pattern: RegExp): Uint8Array | undefined =>
    issuers.find((der) => pattern.test(commonName(parseCertificate(der).subject)));
  const ark = named(/^ARK-/);
  const ask = named(leafRole === 'vlek' ? /^SEV-VLEK-/ : /^SEV-(?!VLEK)/);
  if (ark === undefined || ask === undefined) return undefined;
  return testCase('snp', Date.parse(verify_at), {
    bytes: {
      report: unpadded(read(files.report)),
      leaf: certificateIn(read(files[leafRole])),
      ask,
      ark,
      ...(files.crl !== undefined && { crl: crlIn(read(files.crl)) }),
    },
    words: { product: commonName(parseCertificate(ark).subject).replace('ARK-', '') },
  });
}

/** Some sources pad reports with zeros. */
function unpadded(file: Buffer): Buffer {
  return file.subarray(REPORT_LENGTH).some((byte) => byte !== 0) ? file : file.subarray(0, REPORT_LENGTH);
}

function tdxCase({ files, expected }: Case, read: Read, root: Uint8Array, kind: string): TestCase | undefined {
  const { verify_at } = expected as { verify_at?: string };
  if (files.quote === undefined || verify_at === undefined) return undefined;
  if (files.collateral === undefined && kind === 'tdx-status') return undefined;
  const file = read(files.quote);
  const bytes = { quote: cut(file), root };
  if (files.collateral === undefined) return testCase(kind, Date.parse(verify_at), { bytes });
  const json = JSON.parse(read(files.collateral).toString()) as Record<string, string>;
  const chain = (name: string): Uint8Array[] => parsePem(json[name] ?? '', 'CERTIFICATE');
  const documents: Bytes = {
    tcbInfo: Buffer.from(json.tcb_info ?? ''),
    tcbInfoSignature: fromHex(json.tcb_info_signature ?? ''),
    qeIdentity: Buffer.from(json.qe_identity ?? ''),
    qeIdentitySignature: fromHex(json.qe_identity_signature ?? ''),
    pckCrl: fromHex(json.pck_crl ?? ''),
    rootCrl: fromHex(json.root_ca_crl ?? ''),
  };
  return testCase(kind, Date.parse(verify_at), {
    bytes: { ...bytes, ...documents },
    lists: {
      tcbInfoChain: chain('tcb_info_issuer_chain'),
      qeIdentityChain: chain('qe_identity_issuer_chain'),
      pckCrlChain: chain('pck_crl_issuer_chain'),
    },
  });
}

/** Some sources pad quotes with zeros; one that does not say its length stays as it is. */
function cut(file: Buffer): Uint8Array {
  try {
    return file.subarray(0, quoteLength(file));
  } catch {
    return file;
  }
}

/** Intel's root as the collateral of any case carries it, by its pin. */
function intelRoot(cases: readonly Case[], read: Read): Uint8Array {
  for (const { files } of cases.filter((one) => one.files.collateral !== undefined)) {
    const json = JSON.parse(read(files.collateral).toString()) as Record<string, string>;
    for (const der of parsePem(json.tcb_info_issuer_chain ?? '', 'CERTIFICATE')) {
      const pins = Object.values(pinsOf(parseCertificate(der)));
      if (pins.some((pin) => VENDOR_ANCHORS.intel.includes(pin))) return der;
    }
  }
  throw new Error("no collateral carries Intel's root");
}

/** Each bank of a log by itself. */
function logTrials({ id, files, expected }: Case, read: Read): Trial[] {
  const { pcrs_replayed = {} } = expected as { pcrs_replayed?: Record<string, Record<string, string>> };
  return Object.entries(pcrs_replayed).map(([bank, values]) => ({
    id: `${id} ${bank}`,
    test: testCase('event-log', 0, { bytes: { log: read(files.log), ...registers(values) }, words: { bank } }),
  }));
}

function registers(values: Readonly<Record<string, string>>): Bytes {
  return Object.fromEntries(Object.entries(values).map(([index, hex]) => [`pcr${index}`, fromHex(hex)]));
}

/** A peer takes one bank. */
function quoteCase({ files, expected }: Case, read: Read): TestCase | undefined {
  const { nonce, attest } = expected as { nonce?: string; attest: { extra_data: string } };
  if (files.ak === undefined || files.sig === undefined || files.pcrs === undefined) return undefined;
  const [[bank, values] = ['', {}], another] = Object.entries(
    JSON.parse(read(files.pcrs).toString()) as Record<string, Record<string, string>>,
  );
  if (another !== undefined) return undefined;
  return testCase('quote', 0, {
    bytes: {
      attest: read(files.attest),
      signature: read(files.sig),
      spki: publicKeyIn(read(files.ak)).export({ format: 'der', type: 'spki' }),
      nonce: fromHex(nonce ?? attest.extra_data),
      ...registers(values),
    },
    words: { bank },
  });
}

interface Vector {
  readonly [key: string]: unknown;
}

/** Notes, proofs and paths, in the forms of both sources. */
function tlogTrials({ id, files }: Case, read: Read): Trial[] {
  const json = JSON.parse(read(files.vectors).toString()) as Vector[] | { vectors?: Vector[] };
  const vectors = Array.isArray(json) ? json : (json.vectors ?? []);
  return vectors.flatMap((one, index) => trial(`${id} ${index}`, tlogCase(id, one)));
}

function tlogCase(id: string, v: Vector): TestCase | undefined {
  const hash = (value: unknown): Uint8Array => Buffer.from(String(value), id.startsWith('gen-') ? 'hex' : 'base64');
  const path = [(v.proof as unknown[] | undefined) ?? []].flat().map(hash);
  const words = (of: Record<string, unknown>): Record<string, string> =>
    Object.fromEntries(Object.entries(of).map(([name, value]) => [name, String(value)]));
  if (/^gen-notes/.test(id) && typeof v.note === 'string') {
    const keys = ((v.vkeys as string[] | undefined) ?? []).map((key) => Buffer.from(key));
    return testCase('note', 0, { bytes: { note: Buffer.from(v.note) }, lists: { keys } });
  }
  if (/^gen-tile_path_parse/.test(id)) {
    const text = String(v.path)
      .replace(/^tile\//, 'tile/8/')
      .replace('/entries/', '/data/');
    return testCase('tile-path', 0, { words: { path: text } });
  }
  if (/^(?:gen|merkle)-inclusion/.test(id)) {
    return testCase('inclusion', 0, {
      bytes: { root: hash(v.root), leaf: hash(v.leaf_hash ?? v.leafHash) },
      lists: { path },
      words: words({ size: v.size ?? v.treeSize, index: v.index ?? v.leafIdx }),
    });
  }
  if (/^(?:gen|merkle)-consistency/.test(id)) {
    return testCase('consistency', 0, {
      bytes: { root: hash(v.root ?? v.root2), oldRoot: hash(v.old_root ?? v.root1) },
      lists: { path },
      words: words({ size: v.size ?? v.size2, old: v.old_size ?? v.size1 }),
    });
  }
  return undefined;
}
