/**
 * Records before they have their place: one writer of the fields that each of them has, and the
 * records of a boot.
 */

import { FINAL_FIGURES, type FinalWord } from '@enclaim/attestation/deletion';
import type { BootStatement } from '@enclaim/attestation/statement';
import type { Admission } from '../admission/admission.ts';
import type { BootClock } from '../clock.ts';
import type { KernelState } from '../control.ts';
import type { ResourceGovernor } from '../governor/resources.ts';
import { freshHex } from '../random-pool.ts';
import type { Entry, RecordLog } from './record-log.ts';

/** The sources of the fields that every record has. */
export interface EntryOptions {
  readonly admission: Admission;
  readonly clock: Pick<BootClock, 'text'>;
}

/** The parts of a record that its writer chooses, beside its method and label. */
export type Said = Partial<
  Pick<
    Entry,
    'id' | 'time' | 'layer' | 'claims' | 'decision' | 'reason' | 'sink' | 'figures' | 'basis' | 'segment' | 'deleted'
  >
>;

/** The method and the label of a record that no call caused. */
const NO_CALL: Pick<Entry, 'method' | 'label'> = { method: null, label: [] };

/** A record of this runtime: what `said` says, and the usual for the rest. */
export function entryOf(
  { admission, clock }: EntryOptions,
  said: Said,
  { method, label }: Pick<Entry, 'method' | 'label'> = NO_CALL,
): Entry {
  const entry = {
    v: 2,
    id: said.id ?? freshHex(16),
    time: said.time ?? clock.text(),
    timeStrength: 'host',
    layer: said.layer ?? 'runtime',
    system: admission.policy.system.name,
    policyDigest: admission.digest,
    claims: said.claims ?? [],
    decision: said.decision ?? 'info',
    reason: said.reason ?? 'ok',
    method,
    label,
    sink: said.sink ?? null,
    figures: said.figures ?? {},
    basis: said.basis ?? 'enforced',
  } as const;
  const { deleted, segment } = said;
  if (deleted === undefined && segment === undefined) return entry;
  return { ...entry, ...(deleted !== undefined && { deleted }), ...(segment !== undefined && { segment }) };
}

/** Facts of a boot that its first record has figures of. */
export interface BootFacts {
  readonly governor: ResourceGovernor | undefined;
  readonly kernel: KernelState | undefined;
  /** The word of the epoch that it began; undefined if nothing is stored. */
  readonly final: FinalWord | undefined;
}

/**
 * The first record of a boot: numbers of methods exposed and withheld, missing layers, and readings
 * that are not observed.
 */
export function bootRecord(
  options: EntryOptions,
  { bootId, started, unconfined }: BootStatement,
  { began, discarded, left, quoted, room }: RecordLog,
  { governor, kernel, final }: BootFacts,
): Entry {
  const { exposed, withheld } = options.admission;
  const said = [
    ...(unconfined.length === 0 ? [] : [`workers without ${unconfined.join(', ')}`]),
    ...(governor?.thermalObserved === false ? ['temperature not observed'] : []),
    ...(room === 'ample' ? [] : ['log nearly full', 'nothing served']),
  ];
  return entryOf(options, {
    id: bootId,
    time: started.at,
    layer: 'admission',
    claims: options.admission.claims.boot,
    reason: ['boot', ...said].join(', '),
    figures: {
      exposed: exposed.length,
      withheld: withheld.length,
      discarded: discarded ? 1 : 0,
      'log.began': began.size,
      'log.left': left,
      'log.quoted': quoted.size,
      'quotes.unfit': quoted.unfit,
      ...(final !== undefined && finalFigures(final)),
      ...(kernel !== undefined && { 'kernel.settings': kernel.settings, 'kernel.rules': kernel.rules }),
    },
  });
}

/**
 * The record of a log that calls will soon fill. Health says NOT_SERVING from now on, and the next
 * boot serves nothing.
 */
export function roomRecord(options: EntryOptions, { left }: RecordLog): Entry {
  return entryOf(options, { reason: 'log nearly full', figures: { 'log.left': left } });
}

/**
 * The record of hardware that gave no quote for so long that calls are refused from now on, or of
 * its first quote after that.
 */
export function quoteRecord(options: EntryOptions, isOverdue: boolean): Entry {
  return entryOf(options, { layer: 'evidence', reason: isOverdue ? 'quote overdue' : 'quote after overdue' });
}

/**
 * The record of a new epoch of the stored state: the key of the one before is destroyed, and with
 * it all that was deleted until then.
 */
export function epochRecord(options: EntryOptions, word: FinalWord): Entry {
  return entryOf(options, { reason: 'epoch', claims: options.admission.claims.epoch, figures: finalFigures(word) });
}

function finalFigures({ epoch, records, until }: FinalWord): Record<string, number> {
  const { epoch: number, records: size, until: instant } = FINAL_FIGURES;
  return { [number]: epoch, [size]: records, [instant]: until };
}

/**
 * The record of stored state whose epochs do not begin in time, so that calls are refused from now
 * on, or of the first that began after that.
 */
export function lateEpochRecord(options: EntryOptions, isOverdue: boolean): Entry {
  return entryOf(options, { reason: isOverdue ? 'epoch overdue' : 'epoch after overdue' });
}

/** The record of a quote that is too large to be kept for later boots. */
export function unkeptRecord(options: EntryOptions, bytes: number, most: number): Entry {
  return entryOf(options, { layer: 'evidence', reason: 'quote not kept', figures: { bytes, most } });
}

/** The record of a quorum of witnesses over the tree of this size. */
export function cosignedRecord(options: EntryOptions, size: number): Entry {
  return entryOf(options, { layer: 'evidence', reason: 'cosigned', figures: { size } });
}

/**
 * The record of more records than the policy allows beyond the last cosigned checkpoint: calls are
 * refused from now on; or of a quorum after that.
 */
export function unwitnessedRecord(options: EntryOptions, isOver: boolean, records: number): Entry {
  const reason = isOver ? 'witnesses away' : 'witnesses back';
  return entryOf(options, { layer: 'evidence', reason, figures: { records } });
}

/** The record of a quorum over a tree that is not this log's: it forked. */
export function forkRecord(options: EntryOptions, size: number): Entry {
  return entryOf(options, { layer: 'evidence', reason: 'fork: witnesses cosigned another tree', figures: { size } });
}

/**
 * The record of what becomes of a secret of the policy, by its name.
 *
 * @param change such as `put`, `rotated`, `withdrawn`
 */
export function secretRecord(options: EntryOptions, change: string, name: string): Entry {
  return entryOf(options, { reason: `secret ${change} ${name}` });
}

/**
 * The record of a step of a succession.
 *
 * @param step such as `waits`, `replaced`, `handed over`, `inherited`
 * @param digest of the document that was signed, sha256:…
 */
export function successionRecord(options: EntryOptions, step: string, digest: string): Entry {
  return entryOf(options, { reason: `succession ${step} ${digest}` });
}

/** State that goes on from an older copy of its disk, by a recovery of the policy's signers. */
export function recoveryRecord(options: EntryOptions, digest: string): Entry {
  return entryOf(options, { reason: `state recovered ${digest}` });
}

/**
 * The record of another machine's key that was told to it, or of its next one that was taken.
 *
 * @param name of the identity, sha256:…
 * @param boot digest of the boot statement of the machine that asked
 */
export function keptRecord(
  options: EntryOptions,
  { step, name, boot, epoch }: { step: 'released' | 'advanced'; name: string; boot: string; epoch: number },
): Entry {
  return entryOf(options, { reason: `key ${step} ${name} to boot ${boot}`, figures: { epoch } });
}

/**
 * The last record of a boot that ended in order.
 *
 * @param cut calls that were cut off
 */
export function endRecord(options: EntryOptions, cut: number): Entry {
  return entryOf(options, { reason: 'end', figures: { cut } });
}
