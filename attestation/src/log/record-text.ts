/** The text of a record. */

import { canonicalText } from '../canonical.ts';
import type { AnyRecord } from './record-fields.ts';

/**
 * The canonical form (RFC 8785) of a record whose fields its schema takes, and of nothing else that
 * it may hold.
 *
 * **Cost**: the runtime writes a record for every call. Its names stand in order here, so that the
 * engine writes the text in one piece. A text that is put together field by field takes as long and
 * leaves three times as much garbage.
 *
 * @throws Error for a text that is not Unicode
 */
export function canonicalRecord(record: AnyRecord): string {
  const { basis, decision, figures, id, label, layer, method, policyDigest } = record;
  const { reason, sink, system, time, timeStrength, v } = record;
  if (record.v === 2 && record.segment === undefined) {
    const { claims, deleted } = record;
    const rest = { figures, id, label, layer, method, policyDigest, reason, sink, system, time, timeStrength, v };
    if (deleted === undefined) return canonicalText({ basis, claims, decision, ...rest });
    return canonicalText({ basis, claims, decision, deleted, ...rest });
  }
  const common = { basis, decision, figures, id, label, layer, method, policyDigest };
  const rest = { reason, sink, system, time, timeStrength, v };
  if (record.v === 2) {
    const { claims, deleted, segment } = record;
    const more = { ...(deleted !== undefined && { deleted }), ...(segment !== undefined && { segment }) };
    return canonicalText({ ...common, claims, ...rest, ...more });
  }
  const { claim, controls, prev } = record;
  return canonicalText({ ...common, claim, controls, prev, ...rest });
}
