/**
 * The governor of resources: what requests declare, what is in flight, what the machine shows. A declaration is a reservation:
 * together the requests in flight never declare more than the workers have, so that many small ones cannot take what one
 * large one may not.
 */

import { bytesOf, type MethodId, millisecondsOf, type Resources } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { KERNEL, type Readings, readMachine } from './readings.ts';

/** What the workers have together. */
export interface Capacity {
  /** Bytes for handlers. */
  readonly memory: number;
  readonly processors: number;
}

/** What one request may use. */
export interface CallBudget {
  /** Bytes. */
  readonly memory: number;
  /** Microseconds of processor. */
  readonly processor: number;
  /** Milliseconds from its first byte to its last. */
  readonly wall: number;
  /** Where the policy says so. */
  readonly pointer: string;
}

/** A request that was let in; disposing of it gives back what it declared. */
export interface Reservation extends Disposable {
  readonly budget: CallBudget;
}

const POINTER = '/governance/resources';
const LEAST_PATIENCE_MS = 2000;
/** Thousandths: shares of a processor are added as integers. */
const WHOLE = 1000;
/** Milliseconds for which a reading holds; the kernel renews its averages every two seconds. */
const FRESH_MS = 1000;

interface Declared extends CallBudget {
  /** Thousandths of a processor that it needs to use its processor time within its wall time. */
  readonly share: number;
}

/** Decides which requests are let in. */
export class ResourceGovernor {
  /** Whether temperature is looked at: the policy limits it, and a sensor was there at start. */
  readonly thermalObserved: boolean;
  /** Milliseconds for which a worker may stand still: a call may work for all it declares without a pause. */
  readonly patience: number;
  readonly #limits: Resources;
  readonly #capacity: { readonly memory: number; readonly share: number };
  readonly #methods: ReadonlyMap<MethodId, Declared>;
  readonly #read: () => Readings;
  readonly #clock: () => number;
  #readings: Readings;
  #readAt: number;
  #inFlight = 0;
  #memory = 0;
  #share = 0;

  /**
   * @param read figures of the machine; where the kernel does not show them the policy cannot be held
   * @throws RefusalError `claim` where a declaration is more than the workers have, or there are no figures
   */
  constructor(
    limits: Resources,
    methods: Iterable<MethodId>,
    capacity: Capacity,
    read: () => Readings = () => readMachine(limits.thermal === 'none' ? { ...KERNEL, thermal: null } : KERNEL),
    clock: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#capacity = { memory: capacity.memory, share: shareOf(capacity) };
    this.#methods = new Map([...methods].map((id) => [id, declared(limits, id)]));
    this.patience = Math.max(LEAST_PATIENCE_MS, ...[...this.#methods.values()].map(({ processor }) => processor / 500));
    this.#read = read;
    this.#clock = clock;
    const [beyond] = unattainable(limits, this.#methods.keys(), capacity);
    if (beyond !== undefined) throw new RefusalError('claim', beyond.message, { pointer: beyond.pointer });
    try {
      this.#readings = read();
    } catch (cause) {
      throw new RefusalError(
        'claim',
        'the kernel does not show what it has to: pressure, and its sensors if it has any',
        {
          pointer: `${POINTER}/pressure`,
          cause,
        },
      );
    }
    this.#readAt = clock();
    this.thermalObserved = this.#readings.warmest !== null;
  }

  /** Lets a request in. @throws RefusalError `budget` with the sum that would be exceeded */
  admit(method: MethodId): Reservation {
    const budget = this.#methods.get(method);
    if (budget === undefined) throw new RefusalError('budget', 'the method declares nothing', { pointer: POINTER });
    this.#refuseStrained();
    const { inFlight } = this.#limits;
    const { memory, share } = this.#capacity;
    if (this.#inFlight >= inFlight) refuse('inFlight', `${this.#inFlight} requests in flight + 1 > ${inFlight}`);
    if (this.#memory + budget.memory > memory)
      refuse('memory', `${kib(this.#memory)} in flight + ${kib(budget.memory)} declared > ${kib(memory)}`);
    if (this.#share + budget.share > share)
      refuse('cpu', `${cores(this.#share)} in flight + ${cores(budget.share)} declared > ${cores(share)} processors`);
    this.#add(1, budget);
    let held = true;
    return {
      budget,
      [Symbol.dispose]: () => {
        if (held) this.#add(-1, budget);
        held = false;
      },
    };
  }

  #add(sign: 1 | -1, { memory, share }: Declared): void {
    this.#inFlight += sign;
    this.#memory += sign * memory;
    this.#share += sign * share;
  }

  /** How strained the machine is, is not said: only that it is. What a machine does not show any more lets nobody in. */
  #refuseStrained(): void {
    const now = this.#clock();
    if (now - this.#readAt > FRESH_MS) {
      try {
        this.#readings = this.#read();
      } catch (cause) {
        throw new RefusalError('budget', 'the kernel no longer shows how strained it is', { pointer: POINTER, cause });
      }
      this.#readAt = now;
    }
    const { pressure, warmest } = this.#readings;
    const limits = this.#limits;
    for (const kind of ['memory', 'cpu'] as const)
      if (pressure[kind] > limits.pressure[kind])
        refuse(`pressure/${kind}`, `pressure on ${kind} is over ${limits.pressure[kind]} %`);
    if (limits.thermal === 'none') return;
    if (warmest === null ? this.thermalObserved : warmest > limits.thermal)
      refuse('thermal', `temperature is over ${limits.thermal} degrees, or a sensor has gone`);
  }
}

/** Which methods declare more than the workers have for handlers, so that no request of them would ever be let in. */
export function unattainable(
  limits: Resources,
  methods: Iterable<MethodId>,
  capacity: Capacity,
): { readonly pointer: string; readonly message: string }[] {
  const [memory, share] = [capacity.memory, shareOf(capacity)];
  return [...methods].flatMap((id) => {
    const { pointer, ...own } = declared(limits, id);
    const says = (what: string, message: string) => ({
      pointer: `${pointer}/${what}`,
      message: `${id} declares ${message}`,
    });
    return [
      ...(own.memory > memory ? [says('memory', `${kib(own.memory)}, the workers have ${kib(memory)}`)] : []),
      ...(own.share > share
        ? [says('cpu', `${cores(own.share)} processors of its wall time, the workers have ${cores(share)}`)]
        : []),
    ];
  });
}

function shareOf({ processors }: Capacity): number {
  return Math.floor(processors * WHOLE);
}

function declared({ methods, ...whole }: Resources, id: MethodId): Declared {
  const own = Object.hasOwn(methods, id) ? methods[id] : undefined;
  const { memory, cpu, wall } = own ?? whole;
  const [processor, milliseconds] = [millisecondsOf(cpu), millisecondsOf(wall)];
  return {
    memory: bytesOf(memory),
    processor: processor * 1000,
    wall: milliseconds,
    share: Math.ceil((processor * WHOLE) / milliseconds),
    pointer: own === undefined ? POINTER : `${POINTER}/methods/${id.replace('/', '~1')}`,
  };
}

function refuse(what: string, sum: string): never {
  throw new RefusalError('budget', `${what}: ${sum}`, { pointer: `${POINTER}/${what}` });
}

const kib = (bytes: number): string => `${bytes / 1024} KiB`;
const cores = (share: number): string => `${share / WHOLE}`;
