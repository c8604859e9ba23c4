/** Our judges of what is fed to the peers, by kind. Each holds a case to what the peer beside it holds it to. */

import { equalBytes, fromUtf8, toHex, utf8 } from '../../../attestation/src/bytes.ts';
import { type HashName, sha256 } from '../../../attestation/src/digest.ts';
import { AppraisalError, DecodeError, EvidenceError } from '../../../attestation/src/errors.ts';
import { describeSnpFirmware, sevLaunchDigest, snpLaunchDigest } from '../../../attestation/src/measure/snp.ts';
import type { Vmm } from '../../../attestation/src/measure/snp-vmsa.ts';
import { rootFromConsistency, rootFromPath } from '../../../attestation/src/merkle.ts';
import { appraiseSnp, SNP_CAREFUL, verifySnp } from '../../../attestation/src/snp/index.ts';
import { appraiseTdx, TDX_CAREFUL, type TdxDemands, verifyTdx } from '../../../attestation/src/tdx/index.ts';
import { parseCheckpoint } from '../../../attestation/src/tlog/checkpoint.ts';
import { noteFromBytes, parseNoteKey, verifyNote } from '../../../attestation/src/tlog/note.ts';
import { parseTilePath } from '../../../attestation/src/tlog/tile.ts';
import { authenticateEventLog, parseEventLog, verifyQuoteUnderKey } from '../../../attestation/src/tpm/index.ts';
import type { Check } from '../../../attestation/src/verdict/verdict.ts';
import { type Pin, parseCertificate, pinsOf } from '../../../attestation/src/x509/index.ts';
import type { TestCase, Verdict } from './trial.ts';

/** Judges a case. What is thrown beside a typed refusal is a fault of ours, and no verdict. */
export async function ours(test: TestCase): Promise<Verdict> {
  const judge = JUDGES[test.kind];
  if (judge === undefined) throw new TypeError(`no judge of ${test.kind}`);
  try {
    const value = await judge(test);
    return { accept: true, ...(value !== '' && { value }) };
  } catch (error) {
    if (error instanceof EvidenceError) return { accept: false, reason: `${error.code}: ${error.message}` };
    if (error instanceof DecodeError) return { accept: false, reason: `format: ${error.message}` };
    if (error instanceof AppraisalError) return { accept: false, reason: `${error.code}: ${error.message}` };
    if (error instanceof Refused) return { accept: false, reason: error.message };
    throw error;
  }
}

class Refused extends Error {}

const JUDGES: Readonly<Record<string, (test: TestCase) => Promise<string>>> = {
  snp,
  tdx: (test) => tdx(test, ['UpToDate']),
  'tdx-status': (test) => tdx(test, 'any'),
  'event-log': eventLog,
  quote,
  note,
  tree,
  inclusion,
  consistency,
  'tile-path': tilePath,
  launch,
};

function bytesOf({ bytes }: TestCase, name: string): Uint8Array {
  return bytes[name] ?? new Uint8Array();
}

function require(checks: readonly Check[]): void {
  const failed = checks.filter(({ outcome, required }) => required && outcome !== 'passed').map(({ id }) => id);
  if (failed.length > 0) throw new Refused(`appraisal: ${failed.join(' ')}`);
}

function pinned(root: Uint8Array): readonly Pin[] {
  return [pinsOf(parseCertificate(root)).certificate];
}

async function snp(test: TestCase): Promise<string> {
  const crl = bytesOf(test, 'crl');
  const evidence = {
    report: bytesOf(test, 'report'),
    leaf: bytesOf(test, 'leaf'),
    intermediates: [bytesOf(test, 'ask'), bytesOf(test, 'ark')],
    crl: crl.length === 0 ? ('none' as const) : crl,
  };
  const verified = await verifySnp(evidence, pinned(bytesOf(test, 'ark')), { now: test.now });
  require(
    appraiseSnp(verified, {
      ...SNP_CAREFUL,
      measurements: 'any',
      platformRequired: [],
      revocation: crl.length === 0 ? 'any' : 'required',
    }),
  );
  return '';
}

/** Of the TCB in force now: any status that Intel gives it, but some level must be reached. */
const ANY_LEVEL: TdxDemands['currentTcbStatuses'] = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
];

async function tdx(test: TestCase, tcbStatuses: TdxDemands['tcbStatuses']): Promise<string> {
  const part = (name: string): Uint8Array => bytesOf(test, name);
  const withCollateral = part('tcbInfo').length > 0;
  const collateral = {
    tcbInfo: part('tcbInfo'),
    tcbInfoSignature: part('tcbInfoSignature'),
    tcbInfoChain: test.lists.tcbInfoChain ?? [],
    qeIdentity: part('qeIdentity'),
    qeIdentitySignature: part('qeIdentitySignature'),
    qeIdentityChain: test.lists.qeIdentityChain ?? [],
    pckCrl: part('pckCrl'),
    rootCrl: part('rootCrl'),
  };
  const evidence = { quote: part('quote'), collateral: withCollateral ? collateral : ('none' as const) };
  const verified = await verifyTdx(evidence, pinned(part('root')), { now: test.now });
  const { tcb } = verified;
  require(
    appraiseTdx(verified, {
      ...TDX_CAREFUL,
      mrTds: 'any',
      rtmrs: ['any', 'any', 'any', 'any'],
      // The peer that names a status demands it, the other one does not.
      septVeDisable: tcbStatuses === 'any' ? 'required' : 'any',
      tcbStatuses: withCollateral ? tcbStatuses : 'any',
      currentTcbStatuses: withCollateral ? (tcbStatuses === 'any' ? ANY_LEVEL : ['UpToDate']) : 'any',
    }),
  );
  return tcbStatuses === 'any' && tcb !== 'not checked' ? tcb.status : '';
}

/** Values of registers stand under pcr0, pcr1 and so on. */
function registersOf({ bytes }: TestCase): Map<number, Uint8Array> {
  const entries = Object.entries(bytes).filter(([name]) => /^pcr[0-9]+$/.test(name));
  return new Map(entries.map(([name, value]) => [Number(name.slice(3)), value] as const).sort(([a], [b]) => a - b));
}

async function eventLog(test: TestCase): Promise<string> {
  const values = registersOf(test);
  authenticateEventLog(parseEventLog(bytesOf(test, 'log')), test.words.bank as HashName, [...values.keys()], values);
  return '';
}

async function quote(test: TestCase): Promise<string> {
  const bank = test.words.bank as HashName;
  const values = registersOf(test);
  await verifyQuoteUnderKey({
    attest: bytesOf(test, 'attest'),
    signature: bytesOf(test, 'signature'),
    spki: bytesOf(test, 'spki'),
    expectedExtraData: bytesOf(test, 'nonce'),
    selection: [{ bank, pcrs: [...values.keys()] }],
    banks: new Map([[bank, values]]),
  });
  return '';
}

async function note(test: TestCase): Promise<string> {
  const keys = (test.lists.keys ?? []).map((key) => parseNoteKey(fromUtf8(key)));
  const { text, verified } = await verifyNote(noteFromBytes(bytesOf(test, 'note')), keys);
  return `${toHex(utf8(text))} by ${verified.map(({ key }) => key.name).join(',')}`;
}

async function tree(test: TestCase): Promise<string> {
  const { origin, size, root } = parseCheckpoint(fromUtf8(bytesOf(test, 'text')));
  // The one origin that the peer knows.
  if (origin !== 'go.sum database tree') throw new Refused('format: another origin');
  return `${size} ${toHex(root)}`;
}

async function inclusion({ bytes, lists, words }: TestCase): Promise<string> {
  const { leaf = new Uint8Array(), root = new Uint8Array() } = bytes;
  return leads(rootFromPath(leaf, Number(words.index), Number(words.size), lists.path ?? []), root);
}

async function consistency({ bytes, lists, words }: TestCase): Promise<string> {
  const { oldRoot = new Uint8Array(), root = new Uint8Array() } = bytes;
  return leads(rootFromConsistency(oldRoot, Number(words.old), Number(words.size), lists.path ?? []), root);
}

function leads(found: Uint8Array | undefined, root: Uint8Array): string {
  if (found === undefined) throw new Refused('log: no root');
  if (!equalBytes(found, root)) throw new Refused('log: another root');
  return '';
}

/** The Go library writes the height, which is 8 here, into paths; ours are those of C2SP. */
async function tilePath({ words }: TestCase): Promise<string> {
  const path = words.path ?? '';
  if (!path.startsWith('tile/8/')) throw new Refused('format: another height');
  const { level, index, width } = parseTilePath(`tile/${path.slice('tile/8/'.length).replace(/^data\//, 'entries/')}`);
  return `${level === 'entries' ? -1 : level} ${index} ${width}`;
}

async function launch({ bytes, words }: TestCase): Promise<string> {
  const { firmware = new Uint8Array(), kernel, initrd = new Uint8Array() } = bytes;
  const processors = {
    vmm: (words.vmm ?? '').toLowerCase() as Vmm,
    vcpus: Number(words.vcpus),
    cpuSignature: Number(words.signature),
    features: words.mode === 'snp' ? BigInt(words.features ?? 0) : 0n,
  };
  const direct = kernel && { kernel: sha256(kernel), initrd: sha256(initrd), commandLine: words.append ?? '' };
  if (words.mode === 'sev') return toHex(await sevLaunchDigest(firmware, { ...(direct && { direct }) }));
  if (words.mode === 'seves') return toHex(await sevLaunchDigest(firmware, { processors, ...(direct && { direct }) }));
  const described = await describeSnpFirmware(firmware);
  return toHex(await snpLaunchDigest(described, { ...processors, ...(direct && { direct }) }));
}
