/** TDX quotes that are validly signed and odd, with collateral of the fake provisioning service; and mutants of them. */

import { sign } from 'node:crypto';
import { TCB_STATUSES } from '../../../attestation/src/tdx/collateral.ts';
import type { TcbStatus } from '../../../attestation/src/tdx/index.ts';
import { EPOCH } from '../../fakes/certificates.ts';
import { type FakeCollateral, FakeQuotingEnclave, type FakeTd } from '../../fakes/quoting-enclave.ts';
import { Dice, mutated, type TestCase, type Trial, testCase } from './trial.ts';

const DAY = 86_400_000;
const NOW = EPOCH + DAY;
const PARTS = ['quote', 'tcbInfo', 'tcbInfoSignature', 'qeIdentity', 'qeIdentitySignature', 'pckCrl', 'rootCrl'];
const CHAINS = ['tcbInfoChain', 'qeIdentityChain'];

/** `count` quotes, and a mutant of every second one. @param kind `tdx`, or `tdx-status` for a peer that names a status. */
export function* tdxTrials(seed: string, count: number, kind: 'tdx' | 'tdx-status'): Generator<Trial> {
  const dice = new Dice(seed);
  const enclave = new FakeQuotingEnclave();
  for (let number = 0; number < count; number++) {
    const test = oddQuote(dice, enclave, kind);
    yield { id: `${kind} ${number}`, test };
    if (number % 2 === 0) yield { id: `${kind} ${number}, mutant`, test: mutated(test, [...PARTS, ...CHAINS], dice) };
  }
}

function oddQuote(dice: Dice, enclave: FakeQuotingEnclave, kind: string): TestCase {
  // A peer that names no status reads version 4 alone, and can be asked without collateral.
  const version = dice.chance(kind === 'tdx' ? 10 : 60) ? 5 : 4;
  const alone = kind === 'tdx' && dice.chance(15);
  const quote = Buffer.from(enclave.quote(oddTd(dice, version)));
  const bytes = { quote: dice.chance(5) ? Buffer.concat([quote, Buffer.alloc(dice.below(64))]) : quote };
  const root = enclave.rootDer;
  const now = dice.chance(4) ? dice.pick([EPOCH - DAY, EPOCH + 40 * DAY, EPOCH + 4000 * DAY]) : NOW;
  if (alone) return testCase(kind, now, { bytes: { ...bytes, root } });
  const { tcbInfoChain, qeIdentityChain, ...documents } = enclave.collateral(oddCollateral(dice));
  const resigned = (text: Uint8Array, odd: (json: Record<string, unknown>) => void): [Uint8Array, Uint8Array] => {
    const json = JSON.parse(Buffer.from(text).toString()) as Record<string, unknown>;
    // Of documents that are odd in all, none is accepted.
    if (dice.chance(50)) odd(json);
    const message = Buffer.from(JSON.stringify(json));
    return [message, sign('sha256', message, { key: enclave.tcbSigner.privateKey, dsaEncoding: 'ieee-p1363' })];
  };
  const [tcbInfo, tcbInfoSignature] = resigned(documents.tcbInfo, (json) => oddTcbInfo(dice, json));
  const [qeIdentity, qeIdentitySignature] = resigned(documents.qeIdentity, (json) => oddQeIdentity(dice, json));
  return testCase(kind, now, {
    bytes: { ...bytes, ...documents, root, tcbInfo, tcbInfoSignature, qeIdentity, qeIdentitySignature },
    lists: { tcbInfoChain, qeIdentityChain, pckCrlChain: [enclave.platformCaDer, root] },
  });
}

function oddTd(dice: Dice, version: 4 | 5): FakeTd {
  const svn = (): number[] => [
    dice.pick([3, 4, 5, 5, 6, 6, 7]),
    dice.pick([0, 1, 1, 1, 2]),
    dice.pick([7, 8, 8, 8, 9]),
  ];
  const patch: Record<number, Uint8Array> = {};
  if (dice.chance(5)) patch[64 + dice.below(48)] = Uint8Array.of(1);
  if (dice.chance(4)) patch[112 + dice.below(8)] = Uint8Array.of(1 + dice.below(255));
  if (dice.chance(5)) patch[dice.pick([184, 232, 280])] = dice.bytes(8);
  // MRSERVICETD: a service TD is bound.
  if (version === 5 && dice.chance(8)) patch[600] = dice.bytes(48);
  return {
    version,
    teeTcbSvn: dice.chance(60) ? [6, 1, 8] : svn(),
    ...(version === 5 && { teeTcbSvn2: dice.chance(50) ? [6, 1, 8] : svn() }),
    ...(dice.chance(15) && { tdAttributes: (1n << BigInt(dice.below(64))) | (dice.chance(70) ? 1n << 28n : 0n) }),
    ...(dice.chance(10) && { xfam: 3n | (1n << BigInt(dice.below(64))) }),
    ...(dice.chance(40) && { reportData: dice.bytes(64) }),
    patch,
  };
}

function oddCollateral(dice: Dice): FakeCollateral {
  const status = (): TcbStatus => (dice.chance(60) ? 'UpToDate' : dice.pick(TCB_STATUSES));
  const statuses: [TcbStatus, ...TcbStatus[]] = [status()];
  for (let more = dice.below(3); more > 0; more--) statuses.push(dice.pick(TCB_STATUSES));
  return {
    statuses,
    moduleStatus: status(),
    qeStatus: dice.chance(85) ? 'UpToDate' : dice.pick(TCB_STATUSES),
    ...(dice.chance(20) && { newerModule: dice.pick([6, 7, 8]) }),
    ...(dice.chance(5) && { qeMrSigner: dice.bytes(32).toString('hex') }),
    ...(dice.chance(5) && { revoked: [dice.pick([3, 4, 5])] }),
    ...(dice.chance(5) && { rootRevoked: [dice.pick([2, 4, 5])] }),
    ...(dice.chance(3) && { issueDate: NOW + DAY }),
    ...(dice.chance(3) && { nextUpdate: NOW - 1000 }),
    ...(dice.chance(3) && { fmspc: '009061050001' }),
  };
}

type Json = Record<string, unknown>;

function oddTcbInfo(dice: Dice, info: Json): void {
  const levels = info.tcbLevels as Json[];
  const level = dice.pick(levels);
  const tcb = level.tcb as { sgxtcbcomponents: Json[]; tdxtcbcomponents: Json[]; pcesvn: number };
  if (dice.chance(15)) (tcb.tdxtcbcomponents[dice.below(3)] as Json).svn = dice.below(10);
  if (dice.chance(8)) (tcb.sgxtcbcomponents[dice.below(16)] as Json).svn = dice.below(10);
  if (dice.chance(5)) tcb.pcesvn = dice.pick([10, 11, 12]);
  if (dice.chance(4)) level.tcbStatus = dice.pick(['uptodate', 'Unknown', '', 'UpToDate ']);
  if (dice.chance(8)) levels.reverse();
  if (dice.chance(3)) info.tcbLevels = [];
  if (dice.chance(3)) info.version = dice.pick([2, 4]);
  if (dice.chance(3)) info.id = dice.pick(['SGX', 'tdx', '']);
  if (dice.chance(3)) info.pceId = dice.pick(['0001', '00000']);
  if (dice.chance(3)) info.tdxModuleIdentities = [];
  if (dice.chance(5)) info.somethingNew = { a: [1, null] };
  if (dice.chance(3)) delete info[dice.pick(['tdxModule', 'tcbType', 'tcbEvaluationDataNumber', 'nextUpdate'])];
}

function oddQeIdentity(dice: Dice, identity: Json): void {
  if (dice.chance(3)) identity.version = dice.pick([1, 3]);
  if (dice.chance(3)) identity.id = dice.pick(['QE', 'TD_qe', 'QVE']);
  if (dice.chance(3)) identity.isvprodid = dice.pick([1, 3]);
  if (dice.chance(3)) identity.miscselect = '00000001';
  if (dice.chance(3)) identity.attributes = `15${'00'.repeat(15)}`;
  if (dice.chance(4))
    identity.tcbLevels = [{ tcb: { isvsvn: 5 }, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: 'UpToDate' }];
  if (dice.chance(3)) identity.tcbLevels = [];
  if (dice.chance(4)) identity.somethingNew = true;
}
