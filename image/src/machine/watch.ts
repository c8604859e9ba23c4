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
 * The guest's kernel on a processor that is idle and whose timer is long due: the interrupt was
 * lost. QEMU 10.0 loses one now and then beside a load, when it emulates two processors; the guest
 * then waits for ever.
 */
const TIMER_LOST = /\brcu: rcu_\w+ kthread timer wakeup didn't happen for \d+ jiffies/;

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
  #timersLost = 0;

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

  /** How often the guest has found a timer of its processors lost. */
  get timersLost(): number {
    return this.#timersLost;
  }

  /** Takes the next clean line. */
  line(line: string): void {
    this.lines.push(line);
    if (TIMER_LOST.test(line)) this.#timersLost++;
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
