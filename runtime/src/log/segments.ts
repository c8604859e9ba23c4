/** Segments of the log: every stretch of it is closed by records that say what it holds. */

import { fromHex } from '@enclaim/attestation/bytes';
import type { DigestText } from '@enclaim/attestation/digest';
import { SegmentTally, segmentParts } from '@enclaim/attestation/segment';
import { type EntryOptions, entryOf } from './entry.ts';
import type { Entry, RecordLog } from './record-log.ts';

/** Records of one segment, at most. */
const MAX_SEGMENT_RECORDS = 65_536;
/** Milliseconds that a segment is open after its first record, at most. */
const MAX_SEGMENT_MS = 60 * 60 * 1000;

/** Why a segment was closed. */
type Cause = 'count' | 'time' | 'end';

/** The parts that segments need. */
export interface SegmentsOptions extends EntryOptions {
  readonly log: Pick<RecordLog, 'append' | 'onPlaced' | 'size'>;
  /** Limits of a segment, if they differ from the usual. */
  readonly records?: number;
  readonly milliseconds?: number;
}

const HASH_AT = 'sha256:'.length;

/**
 * Counts the records of this boot as they get their places, and closes segments of them.
 *
 * **Trust**: a segment has records of one boot alone. What a boot finds on the disk is the host's
 * word, maybe under a policy that is not in this VM, so that it states nothing of it. Records after
 * the last segment of a boot that ended suddenly are in none: the gap to the next boot's first
 * segment shows them, and they are read one by one. There are at most as many as one segment has.
 * **Bound**: memory is a few hashes for each control that the policy names.
 */
export class Segments {
  readonly #options: SegmentsOptions;
  readonly #records: number;
  #tally: SegmentTally;
  #first: number;
  /** Decisions in the open segment: a stretch without any is not closed by itself. */
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SegmentsOptions) {
    const { admission, log } = options;
    this.#options = options;
    this.#records = options.records ?? MAX_SEGMENT_RECORDS;
    this.#tally = new SegmentTally(admission.policy);
    this.#first = log.size;
    log.onPlaced((entry, hash) => this.#add(entry, hash));
  }

  /** Closes the last segment of a boot that ends in order. */
  close(): void {
    this.#close('end');
  }

  #add(entry: Entry, hash: DigestText<'sha256'>): void {
    this.#tally.add(entry, fromHex(hash.slice(HASH_AT)));
    // Neither the records of a segment nor an idle boot, whose records have room of their own, make
    // another segment.
    if (entry.decision === 'info') return;
    this.#count++;
    if (this.#count >= this.#records) this.#close('count');
    else this.#timer ??= setTimeout(() => this.#close('time'), this.#options.milliseconds ?? MAX_SEGMENT_MS).unref();
  }

  #close(cause: Cause): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#count === 0) return;
    const { admission, log } = this.#options;
    const parts = segmentParts(this.#first, log.size, this.#tally.controls);
    // The records of this segment stand in the next one, and serve no claim.
    this.#first = log.size;
    this.#count = 0;
    this.#tally = new SegmentTally(admission.policy);
    for (const segment of parts) {
      const said = { layer: 'evidence', reason: `segment ${cause}`, segment } as const;
      // Not awaited: a log that takes no more records has already ended the calls whose records
      // matter, and the segment is then a gap.
      log.append(entryOf(this.#options, said), 'runtime').catch(() => {});
    }
  }
}
