/** Attacks on the room that callers share: a stranger's calls that wait, so that nobody else's are answered. */

import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import type { Answer } from '../../runtime/src/call/caller.ts';
import { type Lab, type LabMethod, type LabOptions, openLab } from '../support/lab.ts';
import { startWorkers } from '../support/worker-process.ts';
import type { Attack } from './attack.ts';
import { type Weakness, weakened, weakenedPart } from './weakened.ts';

/** Milliseconds after which an honest call counts as not answered: with everything on, a call that hangs; else one that waits. */
const PATIENCE = { attempt: 120_000, control: 4_000 };
/** All methods may learn and tell the same, so that they share their workers. */
const ONE_CLASS = { returns: ['personal', 'operational'], open: ['personal', 'operational'] };
/** Of the pool, for one worker. */
const PLACES = 64;
const CALLS = 'runtime/src/call/calls.ts';
const GOVERNOR = 'runtime/src/governor/resources.ts';
const CLASSES = 'runtime/src/worker/classes.ts';

interface HouseAttack {
  readonly layer: string;
  /** Made small, for the attack and for its control. */
  readonly scaled?: Weakness;
  readonly handlers: LabOptions['handlers'];
  readonly options?: () => Partial<LabOptions>;
  readonly succeeds: (house: House) => Promise<boolean>;
}

/** A laboratory full of strangers, who all leave in the end. */
class House {
  readonly lab: Lab;
  readonly #patience: number;
  readonly #left = new AbortController();

  constructor(lab: Lab, patience: number) {
    this.lab = lab;
    this.#patience = patience;
  }

  /** A call of a connection whose caller sends `messages` and then nothing, without an end where the request is a stream. */
  call(name: LabMethod, connection: string, messages = 1): Promise<Answer> {
    const method = this.lab.admission.exposed.find(({ descriptor }) => descriptor.name === name);
    if (method === undefined) throw new TypeError(`${name} is withheld`);
    const { input } = method.descriptor;
    let sent = 0;
    const next = async (): Promise<Uint8Array> =>
      sent++ < messages ? toBinary(input, create(input)) : new Promise<never>(() => {});
    return this.lab.calls.answer(method, { next, send: async () => {}, signal: this.#left.signal, connection });
  }

  /** Whether an honest call is answered while all the others are still there. */
  async answers(call = this.call('Read', 'honest')): Promise<boolean> {
    return (await Promise.race([call.then(({ status }) => status === 0), sleep(this.#patience, false)])) ?? false;
  }

  /** Resolves once so many workers have ended. @throws Error where they go on */
  async lost(count: number): Promise<void> {
    for (let waited = 0; this.lab.lost.length < count; waited += 20) {
      if (waited > PATIENCE.attempt) throw new Error(`${this.lab.lost.length} workers lost, expected ${count}`);
      await sleep(20);
    }
  }

  leave(): void {
    this.#left.abort(new Error('the caller has gone'));
    this.lab.close();
  }
}

/** Streams of as many connections as there are places: a few connections alone may not hold them. */
function crowd(house: House, name: LabMethod, messages = 1): void {
  for (let at = 0; at < PLACES; at++) void house.call(name, `stranger ${at}`, messages);
}

/** Workers that were begun, and whether the next is long in coming. */
const starts = { count: 0, slow: false };
function counted(): Partial<LabOptions> {
  const start = startWorkers();
  const factory = async (): ReturnType<typeof start> => {
    starts.count++;
    const { slow } = starts;
    starts.slow = false;
    return slow ? sleep(1500).then(start) : start();
  };
  return { factory };
}

/** Room for six calls in memory, each of which may last. */
const BUDGETED: Partial<LabOptions> = {
  capacity: { memory: 6 * 16 * 1024 * 1024, processors: 100 },
  policy: {
    ...ONE_CLASS,
    governance: {
      resources: {
        ...{ memory: '16MiB', cpu: '10s', wall: '300s', inFlight: 64 },
        ...{ pressure: { memory: 100, cpu: 100 }, thermal: 'none' },
      },
    },
  },
};

const ANSWER = { Read: 'return {}' };
const TAKE = 'let count = 0; for await (const _ of request) count++; return { count }';
/** A stream that waits for nobody outside. */
const STAY = 'await new Promise(() => {})';
const SPIN = { Put: 'for (;;);' };
const ATTACKS: Readonly<Record<string, HouseAttack>> = {
  'streams that send one message and then nothing, for every place': {
    layer: 'who waits for a caller holds no place',
    handlers: { ...ANSWER, Collect: TAKE },
    succeeds: async (house) => {
      crowd(house, 'Collect');
      await sleep(300);
      return !(await house.answers());
    },
  },
  'calls of one connection, for every place': {
    layer: 'as much left as a connection holds',
    handlers: { ...ANSWER, Put: STAY },
    succeeds: async (house) => {
      for (let at = 0; at < 2 * PLACES; at++) void house.call('Put', 'stranger');
      await sleep(300);
      return !(await house.answers());
    },
  },
  'streams that send one message and then nothing, for all memory that a policy gives': {
    layer: 'silence keeps nothing that another needs',
    options: () => BUDGETED,
    handlers: { ...ANSWER, Collect: TAKE },
    succeeds: async (house) => {
      crowd(house, 'Collect');
      await sleep(300);
      return !(await house.answers());
    },
  },
  'calls of one connection, for all memory that a policy gives': {
    layer: 'as much left as a connection holds',
    options: () => BUDGETED,
    handlers: { ...ANSWER, Put: STAY },
    succeeds: async (house) => {
      for (let at = 0; at < PLACES; at++) void house.call('Put', 'stranger');
      await sleep(300);
      return !(await house.answers());
    },
  },
  'a stream that says nothing, for ever': {
    layer: 'end of a stream that is idle',
    scaled: { constants: { IDLE_MS: 1500 } },
    handlers: { Collect: TAKE },
    succeeds: async (house) => !(await house.answers(house.call('Collect', 'stranger').then(ended))),
  },
  'streams that say nothing, in the one place of calls that run again': {
    layer: 'who waits for a caller holds no place',
    options: () => ({ stall: 400 }),
    handlers: { ...ANSWER, ...SPIN, Collect: TAKE },
    succeeds: async (house) => {
      void house.call('Put', 'stranger');
      await sleep(100); // its loop stands still, so that those who come now have done nothing
      for (let at = 0; at < PLACES / 2 - 1; at++) void house.call('Collect', 'stranger', 0);
      await house.lost(2); // the worker that all were in, and the one in which the first ran again
      await sleep(300);
      // The next worker dies too, with an honest call in it.
      void house.call('Put', 'another');
      return !(await house.answers());
    },
  },
  'streams before calls of one message, in the one place of calls that run again': {
    layer: 'calls of one message first',
    options: () => ({ stall: 400 }),
    handlers: { ...ANSWER, ...SPIN, Collect: STAY },
    succeeds: async (house) => {
      void house.call('Put', 'stranger');
      await sleep(100); // its loop stands still, so that those who come now have done nothing
      for (let at = 0; at < PLACES / 2 - 1; at++) void house.call('Collect', 'stranger', 0);
      return !(await house.answers());
    },
  },
  'a dead worker, so that whoever comes next waits behind those who run again': {
    layer: 'new calls wait for the new worker',
    options: () => ({ ...counted(), stall: 400 }),
    handlers: { ...ANSWER, Chat: 'for await (const _ of request) for (;;);' },
    succeeds: async (house) => {
      const before = starts.count;
      starts.slow = true;
      // Its first message is taken before it spins, so that it does not run again.
      const acted = house.call('Chat', 'stranger');
      await house.lost(1);
      await acted;
      await house.answers();
      return starts.count > before + 1;
    },
  },
};

/** An end of any kind is one. */
function ended(answer: Answer): Answer {
  return { ...answer, status: 0 };
}

async function tried(
  { handlers, options, succeeds }: HouseAttack,
  patience: number,
  weakness: Weakness,
): Promise<boolean> {
  const Classes = (await import(weakened(CLASSES, weakness))).WorkerClasses;
  const Governor = (await import(weakenedPart(GOVERNOR, weakness))).ResourceGovernor;
  const house = new House(await openLab({ Classes, Governor, policy: ONE_CLASS, handlers, ...options?.() }), patience);
  try {
    return await succeeds(house);
  } finally {
    house.leave();
  }
}

/** Calls of strangers, and what each may add to the log beyond a record a second. */
const MANY = 600;
/** A message that is none: a field of a wire type that there is not. */
const GARBAGE = Uint8Array.of(0x0f);

interface LogAttack {
  readonly layer: string;
  readonly method: LabMethod;
}

const LOG_ATTACKS: Readonly<Record<string, LogAttack>> = {
  'garbage, until the log is full': {
    layer: 'refusals of strangers are counted',
    method: 'Read',
  },
  'garbage in streams, until the log is full': {
    layer: 'refusals of streams are counted',
    method: 'Collect',
  },
};

/** Whether the log grows with the number of calls. */
async function fills({ method: name }: LogAttack, weakness: Weakness): Promise<boolean> {
  const { Calls } = await import(weakened(CALLS, weakness));
  const handlers = { ...ANSWER, Collect: TAKE };
  const lab = await openLab({ Calls, handlers });
  const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === name);
  try {
    if (method === undefined) throw new TypeError(`${name} is withheld`);
    const from = performance.now();
    const signal = new AbortController().signal;
    for (let count = 0; count < MANY; count++) {
      const { status } = await lab.calls.answer(method, { next: async () => GARBAGE, send: async () => {}, signal });
      if (status === 0) throw new Error('such a call was answered');
    }
    lab.calls.close();
    const seconds = Math.ceil((performance.now() - from) / 1000);
    return lab.records.length > seconds + 2;
  } finally {
    lab.close();
  }
}

const logAttacks = Object.entries(LOG_ATTACKS).map(
  ([name, attack]): Attack => ({
    group: 'house',
    name,
    layer: attack.layer,
    attempt: () => fills(attack, {}),
    control: () => fills(attack, { off: [attack.layer] }),
  }),
);

/** Every attack on the room that callers share. */
export const houseAttacks: readonly Attack[] = Object.entries(ATTACKS)
  .map(([name, attack]): Attack => {
    const { layer, scaled = {} } = attack;
    return {
      group: 'house',
      name,
      layer,
      attempt: () => tried(attack, PATIENCE.attempt, scaled),
      control: () => tried(attack, PATIENCE.control, { ...scaled, off: [layer] }),
    };
  })
  .concat(logAttacks);
