/**
 * The governor of resources: what requests declare, how many are in flight, and the machine's
 * readings.
 *
 * **Bound**: a declaration is a reservation. Together the requests in flight never declare more
 * than the workers have, and those of a class no more than its own workers. Without this, many
 * small requests could take what one large request may not.
 */

import { bytesOf, type MethodId, millisecondsOf, type Resources } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { CallBudget } from './call-budget.ts';
import { type Guest, type Load, type Place, Places } from './places.ts';
import { KERNEL, type Readings, readMachine } from './readings.ts';

/** Resources of workers together. */
export interface Capacity {
  /** Bytes for handlers. */
  readonly memory: number;
  readonly processors: number;
}

/** Methods that run in workers of their own, and the resources of these workers. */
export interface WorkerShare {
  readonly methods: readonly MethodId[];
  readonly capacity: Capacity;
}

const POINTER = '/governance/resources';
const MIN_PATIENCE_MS = 2000;
/** Thousandths: shares of a processor are added as integers. */
const WHOLE = 1000;
/** Milliseconds for which a reading holds; the kernel renews its averages every two seconds. */
const FRESH_MS = 1000;
/**
 * Calls that may wait until what they declare is free. They wait as raw bytes: nothing is decoded
 * before.
 */
const MAX_WAITING_CALLS = 256;

interface Declaration extends CallBudget {
  /** Thousandths of a processor that it needs to use its processor time within its wall time. */
  readonly share: number;
}

/** A declaration as the places of the governor see it. */
interface Declared extends Declaration {
  /**
   * Requests in flight, bytes and thousandths of a processor of all workers, then the last two of
   * the workers of each class. While a call waits for its caller, it needs no processor.
   */
  readonly load: Load;
}

/** Decides which requests are let in. */
export class ResourceGovernor {
  /** Whether temperature is checked: the policy limits it, and there was a sensor at the start. */
  readonly thermalObserved: boolean;
  /**
   * Milliseconds for which a worker's loop may stand still: a call may use all the processor time
   * that it declares without a pause.
   */
  readonly patience: number;
  readonly #limits: Resources;
  readonly #places: Places;
  readonly #methods: ReadonlyMap<MethodId, Declared>;
  readonly #read: () => Readings;
  readonly #clock: () => number;
  #readings: Readings;
  #readAt: number;

  /**
   * @param shares methods of each class of workers, with the resources of its workers
   * @param capacity resources of all workers that the machine has room for
   * @param read readings of the machine. If the kernel does not show them, the policy cannot be
   * enforced.
   * @throws RefusalError `claim` if a declaration is more than the workers have, or there are no
   * readings
   */
  constructor(
    limits: Resources,
    shares: readonly WorkerShare[],
    capacity: Capacity,
    read: () => Readings = () => readMachine(limits.thermal === 'none' ? { ...KERNEL, thermal: null } : KERNEL),
    clock: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    const waiting = MAX_WAITING_CALLS;
    this.#places = new Places({
      whole: [limits.inFlight, ...[capacity, ...shares.map(({ capacity: own }) => own)].flatMap(amountsOf)],
      ...{ waiting, away: limits.inFlight, unaryFirst: false, crowded: 'too many calls wait for what they declare' },
    });
    this.#methods = new Map(
      shares.flatMap(({ methods }, at) => methods.map((id) => [id, placed(declared(limits, id), at, shares.length)])),
    );
    this.patience = Math.max(MIN_PATIENCE_MS, ...[...this.#methods.values()].map(({ processor }) => processor / 500));
    this.#read = read;
    this.#clock = clock;
    const [beyond] = shares.flatMap(({ methods, capacity: own }) => unattainable(limits, methods, own));
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

  /**
   * The limits of a request of a method.
   *
   * @throws RefusalError `budget` if the method declares nothing
   */
  budgetOf(method: MethodId): CallBudget {
    return this.#declared(method);
  }

  /**
   * Admits a request once what it declares is free. Disposing of the place gives that back.
   *
   * @throws RefusalError `budget` if the machine is strained or too many calls wait; the reason of
   * the call's end
   */
  async admit(method: MethodId, guest: Guest): Promise<Place> {
    return this.admitNow(method, guest) ?? this.#places.take(guest, this.#declared(method).load);
  }

  /**
   * Admits a request if what it declares is free at once; undefined if the request has to wait, as
   * {@link admit} does.
   *
   * @throws RefusalError `budget` if the machine is strained
   */
  admitNow(method: MethodId, guest: Guest): Place | undefined {
    const { load } = this.#declared(method);
    // layer: pressure
    this.#refuseStrained();
    return this.#places.takeFree(guest, load);
  }

  #declared(method: MethodId): Declared {
    const declared = this.#methods.get(method);
    if (declared === undefined) throw new RefusalError('budget', 'the method declares nothing', { pointer: POINTER });
    return declared;
  }

  /**
   * Refuses a request while the machine exceeds a limit of the policy, or has stopped reporting it.
   *
   * **Leak**: the message names the limit and not the reading, which depends on other callers'
   * load.
   */
  #refuseStrained(): void {
    const now = this.#clock();
    if (now - this.#readAt > FRESH_MS) {
      try {
        this.#readings = this.#read();
      } catch (cause) {
        // layer: absent is not calm
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
    // layer: temperature
    if (warmest === null ? this.thermalObserved : warmest > limits.thermal)
      refuse('thermal', `temperature is over ${limits.thermal} degrees, or a sensor has gone`);
  }
}

/**
 * Declarations that exceed what the workers have for handlers, so that no request of the method
 * would ever be admitted.
 */
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

/** The amounts of a capacity: bytes, and thousandths of a processor. */
function amountsOf(capacity: Capacity): readonly number[] {
  return [capacity.memory, shareOf(capacity)];
}

/** A declaration as a load of the workers of class `at`, of so many classes. */
function placed(declaration: Declaration, at: number, classes: number): Declared {
  const { memory, share } = declaration;
  const of = (amounts: readonly number[]): number[] => [
    ...[1, ...amounts],
    ...Array.from({ length: classes }, (_, each) => (each === at ? amounts : amounts.map(() => 0))).flat(),
  ];
  return { ...declaration, load: { running: of([memory, share]), away: of([memory, 0]) } };
}

function declared({ methods, ...whole }: Resources, id: MethodId): Declaration {
  const own = Object.hasOwn(methods, id) ? methods[id] : undefined;
  const { memory, cpu, wall } = own ?? whole;
  const [processor, milliseconds] = [millisecondsOf(cpu), millisecondsOf(wall)];
  const [bytes, share] = [bytesOf(memory), Math.ceil((processor * WHOLE) / milliseconds)];
  return {
    memory: bytes,
    processor: processor * 1000,
    wall: milliseconds,
    share,
    pointer: own === undefined ? POINTER : `${POINTER}/methods/${id.replace('/', '~1')}`,
  };
}

function refuse(what: string, sum: string): never {
  throw new RefusalError('budget', `${what}: ${sum}`, { pointer: `${POINTER}/${what}` });
}

const kib = (bytes: number): string => `${bytes / 1024} KiB`;
const cores = (share: number): string => `${share / WHOLE}`;
