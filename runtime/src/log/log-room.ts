/** Room in the log: how much is left for a writer, and a grade, whose changes listeners hear of. */

import type { LogLayout } from '@enclaim/attestation/log-disk';

/** The writer of a record: a call, or the runtime itself for a boot, its end and its warnings. */
export type Writer = 'call' | 'runtime';

/**
 * Room left for records of calls. It is `none` if there is room for no more calls than are under
 * way, and `scarce` long before that.
 */
export type LogRoom = 'ample' | 'scarce' | 'none';

/**
 * Bytes reserved for the runtime's own records, enough for five hundred boots at two KiB each.
 * A small log reserves a fraction of its size.
 */
const KEPT = { most: 1024 * 1024, part: 16 };
/** Below this, room for calls is scarce: at a thousand calls a second, a minute before the end. */
const SCARCE = { most: 64 * 1024 * 1024, part: 8 };
/** Below this no call is admitted. Calls under way may still write the records of their ends. */
const NONE = { most: 16 * 1024 * 1024, part: 32 };

const GRADES: readonly LogRoom[] = ['ample', 'scarce', 'none'];

/** The room of one journal. */
export class RoomWatch {
  /** Bytes of the journal, without those that are left at its end if a block does not fit there. */
  readonly #bytes: number;
  readonly #listeners: ((room: LogRoom) => void)[] = [];
  #grade: LogRoom = 'ample';

  constructor({ journal, maxBlock }: LogLayout) {
    this.#bytes = journal.length - maxBlock;
  }

  get grade(): LogRoom {
    return this.#grade;
  }

  /** Bytes left for a writer, of a journal of which so many are taken. */
  left(used: number, writer: Writer): number {
    return Math.max(0, this.#bytes - (writer === 'runtime' ? 0 : part(KEPT, this.#bytes)) - used);
  }

  /** Bytes below which room for calls is none: less than that is no real share of the journal. */
  get share(): number {
    return part(NONE, this.#bytes);
  }

  onChange(listener: (room: LogRoom) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Grades what is left and tells listeners of a change.
   *
   * @param freed whether space was given back: else the grade only falls, because what waits is
   * counted as more than it takes once it is written
   */
  look(used: number, freed: boolean): void {
    const left = this.left(used, 'call');
    const room = left < this.share ? 'none' : left < part(SCARCE, this.#bytes) ? 'scarce' : 'ample';
    if (room === this.#grade || (!freed && GRADES.indexOf(room) < GRADES.indexOf(this.#grade))) return;
    this.#grade = room;
    for (const tell of this.#listeners) tell(room);
  }
}

/** The bytes `most`, but at most the given fraction of all. */
function part({ most, part }: { readonly most: number; readonly part: number }, bytes: number): number {
  return Math.min(most, Math.floor(bytes / part));
}
