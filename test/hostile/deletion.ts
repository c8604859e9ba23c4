/** Attacks on proofs of deletion: keys that strangers guess from records, and deletions that did not happen. */

import { digestText } from '@enclaim/attestation/digest';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import type { CurrentReceiptBody } from '@enclaim/attestation/receipt';
import { recordEntry, recordHash } from '@enclaim/attestation/record';
import type { ProvenRecord } from '@enclaim/attestation/record-proof';
import type { ExposedMethod, Policy } from '@enclaim/policy-schema/admission';
import * as deletion from '../../attestation/src/log/deletion.ts';
import * as callFlow from '../../runtime/src/flow/call-flow.ts';
import * as sealedStore from '../../runtime/src/storage/sealed/sealed-store.ts';
import { VolatileCollection } from '../../runtime/src/storage/volatile.ts';
import { entry, FakeDisk } from '../../runtime/test/log/support.ts';
import { MIB, put, TestClock } from '../../runtime/test/sealed/support.ts';
import { FakeKeeper } from '../fakes/keeper.ts';
import { given } from '../support/worker-text.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

type Deletion = typeof deletion;

const DELETION = { path: 'attestation/src/log/deletion.ts' as const, whole: deletion };
const FLOW = { path: 'runtime/src/flow/call-flow.ts' as const, whole: callFlow };
const STORE = { path: 'runtime/src/storage/sealed/sealed-store.ts' as const, whole: sealedStore };
/** Keys that there are: patients of a small clinic. */
const KEYS = 1000;
const RETENTION_MS = 60_000;
const place = (number: number) => ({ collection: 'cases', key: `patient-${number}` });
const salt = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);

/** Whether a stranger who tries every key finds the one that a record is about. */
async function guesses({ deletionRoot }: Deletion): Promise<boolean> {
  const stated = deletionRoot(salt(7), [place(417)]);
  return Array.from({ length: KEYS }, (_, i) => deletionRoot(new Uint8Array(16), [place(i)])).includes(stated);
}

/** Whether two records of one place can be seen to be of one. */
async function links({ deletionRoot }: Deletion): Promise<boolean> {
  return deletionRoot(salt(7), [place(1)]) === deletionRoot(salt(8), [place(1)]);
}

const BODY = { version: 3, index: 5, status: 0, salt: '07'.repeat(16), time: '2026-11-20T12:00:00.000Z' } as const;

/** A receipt's body that names this entry. */
function naming(bytes: Uint8Array): CurrentReceiptBody {
  return { ...BODY, record: digestText('sha256', recordHash(bytes)) } as unknown as CurrentReceiptBody;
}

/** Whether a record that the host writes, of a deletion that did not happen, passes for that of a receipt. */
function invents({ deletionRoot, shownEnd }: Deletion): Promise<boolean> {
  const body = naming(recordEntry(entry('ok')));
  const forged = recordEntry({ ...entry('ok'), deleted: deletionRoot(salt(7), [place(1)]) });
  return passes(() => shownEnd(body, forged, { kind: 'deleted', places: [place(1)] }));
}

/** Whether the deletion of one place passes for that of another. */
function showsAnother({ deletionRoot, shownEnd }: Deletion): Promise<boolean> {
  const bytes = recordEntry({ ...entry('ok'), deleted: deletionRoot(salt(7), [place(2)]) });
  return passes(() => shownEnd(naming(bytes), bytes, { kind: 'deleted', places: [place(1)] }));
}

/** Whether figures of a call's record pass for the word that deletions are final. */
async function declaresFinal({ finalWordOf }: Deletion): Promise<boolean> {
  const figures = { epoch: 9, 'final.records': 1000, 'final.until': 1_700_000_000_000 };
  return finalWordOf({ ...entry('epoch'), method: 'clinic.v1.Intake/Submit', layer: 'runtime', figures }) !== null;
}

/** A log of eight records, and one with the removal that the host took back in the place of record 5. */
const LOG = Array.from({ length: 8 }, (_, i) => leafHash(Uint8Array.of(i)));
const REMOVAL = leafHash(Uint8Array.of(99));
const FORGED = LOG.with(5, REMOVAL);

/** Whether a call's record passes for one of the log whose quote says that it is final. */
function endsIn(
  { demandSameLog }: Deletion,
  held: readonly Uint8Array[],
  { quoted = held, system = 'test', ek = 'one' }: { quoted?: readonly Uint8Array[]; system?: string; ek?: string },
): Promise<boolean> {
  const checkpoint = { origin: `${system}/boot`, size: quoted.length, root: new MerkleTree(quoted).root };
  const statement = { version: 3, storage: { keeper: 'tpm' }, device: { ek, ak: 'of this boot' } };
  const proof = { checkpoint, authenticated: { statement } } as unknown as ProvenRecord;
  const shown = { index: 5, record: digestText('sha256', REMOVAL), system: 'test' };
  const device = { ek: 'one', ak: null } as unknown as Parameters<typeof demandSameLog>[2];
  return passes(() => demandSameLog(shown, proof, device, async (index) => new MerkleTree(held).path(index)));
}

/** Whether a removal that the host took back is final by a record of the log that goes on without it. */
const takesBack = (module: Deletion): Promise<boolean> => endsIn(module, FORGED, { quoted: LOG });
/** Whether a removal is final by the word of another system over the same records. */
const ofAnotherSystem = (module: Deletion): Promise<boolean> => endsIn(module, FORGED, { system: 'other' });
/** Whether a removal is final by the word of another machine, which found a copy of the records and no state. */
const behindAnotherTpm = (module: Deletion): Promise<boolean> => endsIn(module, FORGED, { ek: 'two' });

const RULE = { purpose: 'p', callers: ['anyone'], accepts: ['open', 'secret'], reads: [], sends: [] };
const METHOD = { id: 'a.B/C', rule: { ...RULE, stores: ['cases'], returns: ['open'] } } as unknown as ExposedMethod;
const POLICY = {
  services: { 'a.B': { C: METHOD.rule } },
  collections: { cases: { holds: ['open', 'secret'], storage: 'sealed' } },
  ...{ subprocessors: {}, declassify: [] },
  access: { cedar: '', identities: {} },
  governance: { leaks: 'none', sovereignty: 'none' },
} as unknown as Policy;

/** Whether the record of a call that carries a secret tells a deletion from a change that is none. */
async function tellsApart({ CallContext }: typeof callFlow): Promise<boolean> {
  const [stored, deleted] = (['put', 'delete'] as const).map((kind) => {
    const cases = new VolatileCollection('cases', RETENTION_MS, { now: () => 0 });
    const context = new CallContext(POLICY, METHOD, new Map([['cases', cases]]));
    context.accept(new Set(['secret']), []);
    const more = kind === 'put' ? { json: given(1) } : {};
    context.perform({ kind, collection: 'cases', key: 'k', ...more } as Parameters<typeof context.perform>[0]);
    return context.emptied !== undefined;
  });
  return stored !== deleted;
}

/** Whether an epoch states that what ended while it began is gone, while its index still has it. */
async function endsEarly({ SealedStore }: typeof sealedStore): Promise<boolean> {
  const clock = new TestClock();
  let slow = 0;
  const keeper = new FakeKeeper({ before: (step) => void (step === 'seal' && clock.pass(slow)) });
  const collections = new Map([['cases', { retention: RETENTION_MS }]]);
  const log = await new FakeDisk(8 * MIB).open();
  const store = await SealedStore.open({ log, keeper, clock, system: 'test', collections });
  const cases = store.collections.get('cases');
  if (cases === undefined) throw new TypeError('no collection');
  const end = clock.now() + RETENTION_MS;
  cases.check([put('k', 1)]);
  const { durable } = log.place(entry('call'));
  cases.apply([put('k', 1)]);
  await durable;
  // The host lets the keeper take as long as the value lasts.
  slow = RETENTION_MS;
  await store.advance();
  const { until } = store.final;
  await store.close();
  return until >= end;
}

/** Attacks on proofs of deletion. */
export const deletionAttacks: readonly Attack[] = [
  onSource(DELETION, 'try every key against a record of a deletion', 'blinded deletions', guesses),
  onSource(DELETION, 'link two deletions of one place', 'blinded deletions', links),
  onSource(DELETION, 'write a record of a deletion that did not happen', 'deletions are of their own record', invents),
  onSource(DELETION, 'show the deletion of another place', 'deletions are of these places', showsAnother),
  onSource(DELETION, 'have a call state that deletions are final', 'final by records of the runtime', declaresFinal),
  onSource(
    DELETION,
    'take a deletion back, and show it in other records',
    'final in the log of their record',
    takesBack,
  ),
  onSource(DELETION, 'have another system say that it is final', 'final in the log of their system', ofAnotherSystem),
  onSource(DELETION, 'have a copy on another machine say it', 'final behind the TPM of their keys', behindAnotherTpm),
  onSource(FLOW, 'tell by records whether closed calls delete', 'closed calls delete alike', tellsApart),
  onSource(STORE, 'state an end while the index has the value', 'final are ends that were met', endsEarly),
];
