/** Reads from a machine's console how its boot goes on. */
import { LineQueue } from './console.ts';

/**
 * The steps of a boot, in order. The quiet kernel is part of `firmware`: from outside, its start
 * cannot be told.
 */
export type MachinePhase = 'tools' | 'tpm' | 'firmware' | 'guest' | 'serving';

/** The lines of the guest's supervisor that mark a phase, in order. */
const MARKS: readonly (readonly [MachinePhase, RegExp])[] = [
  ['guest', /^enclaim: guest\b/],
  ['serving', /^enclaim: serving\b/],
];

/** The supervisor's reason for serving nothing; it powers off after it. */
const REFUSED = /^enclaim: refused: (.+)$/;

/**
 * Follows the console of one machine. **Trust**: none. It steers a progress display and an exit
 * status, nothing else.
 */
export class ConsoleWatch {
  readonly lines: LineQueue = new LineQueue();
  /** Settles when the guest says that it serves. */
  readonly served: Promise<void>;
  /** Called at each line, with the number of lines so far. */
  onLine: (count: number) => void = () => {};
  readonly #serve: () => void;
  readonly #onPhase: (phase: MachinePhase) => void;
  #reached = 0;
  #count = 0;
  #refusal: string | null = null;

  constructor(onPhase: (phase: MachinePhase) => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.served = promise;
    this.#serve = resolve;
    this.#onPhase = onPhase;
  }

  /** The first refusal that the guest spoke. */
  get refusal(): string | null {
    return this.#refusal;
  }

  /** Takes the next clean line. */
  line(line: string): void {
    this.lines.push(line);
    this.onLine(++this.#count);
    this.#refusal ??= REFUSED.exec(line)?.[1] ?? null;
    const mark = MARKS.findIndex(([, form], index) => index >= this.#reached && form.test(line));
    const phase = MARKS[mark]?.[0];
    if (phase === undefined) return;
    this.#reached = mark + 1;
    this.#onPhase(phase);
    if (phase === 'serving') this.#serve();
  }
}
