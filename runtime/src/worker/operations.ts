/** Operations that the calls of one worker ask for: bounded, started in order, answered. */

import { RefusalError } from '../errors.ts';
import type { Call } from './call.ts';
import type { JsonText } from './json-text.ts';
import { parseFromWorker } from './message-schema.ts';
import type { Outbox } from './outbox.ts';
import { MAX_FRAME_BYTES, MAX_OPERATIONS, type Operation } from './protocol.ts';
import type { TurnBudget } from './turn-budget.ts';

/** Characters that one call may have under way in operations: twice the largest message. */
const MAX_PENDING_CHARS_PER_CALL = 2 * MAX_FRAME_BYTES;
/** Characters that all calls of a worker may have in unanswered operations. */
const MAX_PENDING_CHARS = 8 * MAX_FRAME_BYTES;
/** Operations without side effects: a call that did only these can start over. */
const TRACELESS: ReadonlySet<Operation['kind']> = new Set(['get', 'read', 'list']);

/** One call's operations. */
export interface Asking {
  readonly call: Call;
  /** Ends the call before its handler does. */
  readonly stop: (refusal: RefusalError) => void;
  operations: number;
  /** Characters of its unanswered operations. */
  unanswered: number;
  /**
   * Operations that have not started, in order. Kept as text, so that their memory is what is
   * counted for them.
   */
  waiting: Waiting[];
  /** Whether an advance of `waiting` is already scheduled. */
  held: boolean;
  /**
   * Settles the call after its last message, once every operation that it sent before has started.
   */
  last: (() => void) | undefined;
  /** Whether the call did anything that running it again would repeat. */
  acted: boolean;
}

/** An operation that has not started. */
interface Waiting {
  readonly kind: Operation['kind'];
  readonly text: string;
}

/** The parts of a worker that its operations act on. */
export interface OperationsOptions {
  readonly outbox: Outbox;
  readonly turn: TurnBudget;
  /** Begins a pause of the worker. */
  readonly pause: () => void;
  /** Ends the worker for its conduct. */
  readonly end: (reason: string) => void;
}

/** Starts the operations of one worker's calls, and answers them. */
export class Operations {
  readonly #options: OperationsOptions;
  /** Characters of unanswered operations. */
  #unanswered = 0;
  /** Calls whose operations wait for the next turn of the loop. */
  readonly #paused: Asking[] = [];

  constructor(options: OperationsOptions) {
    this.#options = options;
  }

  /** Takes an operation of a call that runs, and starts it if nothing hinders it. */
  take(running: Asking, message: Operation, text: string): void {
    const { turn, end } = this.#options;
    const { kind } = message;
    // layer: limit of operations
    if (running.operations >= MAX_OPERATIONS) {
      end(`a call had more than ${MAX_OPERATIONS} operations under way`);
      return;
    }
    if (running.unanswered + text.length > MAX_PENDING_CHARS_PER_CALL) {
      end(`a call had more than ${MAX_PENDING_CHARS_PER_CALL} characters of operations unanswered`);
      return;
    }
    if (this.#unanswered + text.length > MAX_PENDING_CHARS) {
      // **Leak**: the sum depends on other calls, and a handler that could go on would measure it.
      // So the call ends.
      running.stop(new RefusalError('budget', 'calls have too much under way'));
      return;
    }
    this.#count(running, 1, text.length);
    if (!TRACELESS.has(kind)) running.acted = true;
    if (running.waiting.length === 0 && !turn.spent && this.#hindrance(running, kind) === undefined) {
      turn.count(() => this.#begin(running, message, text.length));
    } else {
      running.waiting.push({ kind, text });
      this.#advance(running);
    }
  }

  /**
   * Starts operations that waited for this turn, call by call. A call that used the turn up comes
   * last in the next.
   */
  goOn(): void {
    for (let next = this.#paused.shift(); next !== undefined; next = this.#paused.shift()) {
      next.held = false;
      this.#advance(next);
      if (this.#options.turn.spent) break;
    }
  }

  /** Drops the operations of a call that have not started. */
  forget(running: Asking): void {
    for (const { text } of running.waiting) this.#count(running, -1, -text.length);
    running.waiting = [];
  }

  /** Starts waiting operations in order: the call's label depends on the order. */
  #advance(running: Asking): void {
    const { turn, pause } = this.#options;
    if (running.held) return;
    for (let first = running.waiting[0]; first !== undefined; first = running.waiting[0]) {
      if (turn.spent) {
        running.held = true;
        this.#paused.push(running);
        pause();
        return;
      }
      const hindrance = this.#hindrance(running, first.kind);
      if (hindrance !== undefined) {
        running.held = true;
        void hindrance.then(() => {
          running.held = false;
          this.#advance(running);
        });
        return;
      }
      running.waiting.shift();
      const { text } = first;
      turn.count(() => this.#begin(running, parseFromWorker(text) as Operation, text.length));
    }
    running.last?.();
  }

  /** The promise that an operation waits for; undefined if nothing hinders it. */
  #hindrance({ call }: Asking, kind: Operation['kind']): Promise<unknown> | undefined {
    return this.#options.outbox.room ?? call.awaits?.(kind);
  }

  /**
   * Performs an operation. A result that is already there is written at once: as text it takes a
   * small part of the memory.
   */
  #begin(running: Asking, message: Operation, length: number): void {
    const { operation } = message;
    const { outbox } = this.#options;
    const answer = (json: JsonText): void => {
      outbox.send({ kind: 'result', operation }, json);
      this.#count(running, -1, -length);
    };
    const refuse = (error: unknown): void => {
      if (error instanceof RefusalError && error.final) running.stop(error);
      else this.#refuse(operation, error);
      this.#count(running, -1, -length);
    };
    try {
      const made = running.call.perform(message);
      if (made instanceof Promise) made.then(answer).catch(refuse);
      else answer(made);
    } catch (error) {
      refuse(error);
    }
  }

  #refuse(operation: number, error: unknown): void {
    const { code, message } =
      error instanceof RefusalError ? error : { code: 'worker', message: 'the operation failed' };
    this.#options.outbox.send({ kind: 'refused', operation, code, message });
  }

  #count(running: Asking, operations: number, characters: number): void {
    running.operations += operations;
    running.unanswered += characters;
    this.#unanswered += characters;
  }
}
