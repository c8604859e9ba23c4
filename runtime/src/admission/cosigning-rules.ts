/** Rules of a policy about cosigned checkpoints, with their keys read. */

import { type NoteKey, parseNoteKey, parseWitnessLines, type WitnessPolicy } from '@enclaim/attestation/tlog';
import type { Policy } from '@enclaim/policy-schema/admission';

/** Witnesses and mirror by the policy. */
export interface CosigningRules {
  /** Absent: the policy names no witness. */
  readonly witnesses?: WitnessPolicy;
  /** Records served beyond the last cosigned checkpoint. */
  readonly unwitnessed: number;
  readonly mirror?: NoteKey;
}

/** The rules of a policy. @throws DecodeError if a line or key is none */
export function cosigningRules({ witnesses, unwitnessed, mirror }: Policy['evidence']): CosigningRules {
  return {
    ...(witnesses.length > 0 && { witnesses: parseWitnessLines(witnesses) }),
    unwitnessed: unwitnessed ?? Number.POSITIVE_INFINITY,
    ...(mirror !== undefined && { mirror: parseNoteKey(mirror) }),
  };
}
