/** Attacks on budgets: requests that look small and sum large, that wait, burn or hoard more than they declare. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonValue } from '@bufbuild/protobuf';
import type { EgressBroker } from '../../runtime/src/egress/broker.ts';
import type { Readings } from '../../runtime/src/governor/readings.ts';
import { eventually } from '../support/eventually.ts';
import { type Lab, type LabMethod, type LabOptions, type LabPolicy, openLab } from '../support/lab.ts';
import { type Attack, comes, lasts, settling } from './attack.ts';
import { weakened } from './weakened.ts';

const CALLS = 'runtime/src/call/calls.ts';
const GOVERNOR = 'runtime/src/governor/resources.ts';
const CLASSES = 'runtime/src/worker/classes.ts';

type Weakness = Pick<LabOptions, 'Calls' | 'Governor' | 'Classes'>;

/** The runtime without one layer, by the part that has it. */
const without = {
  governor: async (layer: string): Promise<Weakness> => ({
    Governor: (await import(weakened(GOVERNOR, { off: [layer] }))).ResourceGovernor,
  }),
  calls: async (layer: string): Promise<Weakness> => ({
    Calls: (await import(weakened(CALLS, { off: [layer] }))).Calls,
  }),
  classes: async (layer: string): Promise<Weakness> => ({
    Classes: (await import(weakened(CLASSES, { off: [layer] }))).WorkerClasses,
  }),
};

const BUDGET = { memory: '16MiB', cpu: '200ms', wall: '1500ms' };
const limits = (more: object = {}): object => ({
  resources: { ...BUDGET, inFlight: 64, pressure: { memory: 50, cpu: 90 }, ...more },
});
const CALM: Readings = { pressure: { memory: 0, cpu: 0 }, warmest: 40 };

/** Handlers that wait for as long as they may, or use what they may not. */
const WAIT = 'await new Promise(() => {})';
const HOARD =
  'const kept = []; for await (const { key } of request) kept.push(new Array(1e6).fill(key)); return { count: kept.length }';
/** Spins for a part of a second each turn, and lets the loop turn in between. */
const SIP = 'const sum = () => { let n = 0; for (let i = 0; i < 3e6; i++) n += i % 7; return n; };';

interface ResourceAttack {
  readonly layer: string;
  readonly of: keyof typeof without;
  readonly options?: () => Partial<LabOptions>;
  readonly limits?: object;
  readonly policy?: LabPolicy;
  readonly handlers: LabOptions['handlers'];
  /** Whether it got more than it may have. */
  readonly succeeds: (lab: Lab) => Promise<boolean>;
}

/** Whether of so many requests at once more are let in than may be, once as many are. */
async function exceeds(lab: Lab, count: number, most: number): Promise<boolean> {
  const abort = new AbortController();
  const calls = Array.from({ length: count }, () => lab.call('Watch', {}, abort.signal));
  await eventually(`${most} calls run`, () => lab.pool.calls >= most);
  const exceeded = await comes(() => lab.pool.calls > most, 200);
  abort.abort();
  await Promise.all(calls);
  return exceeded;
}

async function answered(lab: Lab, method: LabMethod, request: JsonValue | JsonValue[]): Promise<boolean> {
  return (await lab.call(method, request)).status === 0;
}

async function goesOn(lab: Lab, method: LabMethod, request: JsonValue, milliseconds: number): Promise<boolean> {
  const abort = new AbortController();
  const on = await lasts(settling(lab.call(method, request, abort.signal)), milliseconds);
  abort.abort();
  return on;
}

const MAILER = {
  ...{ address: 'https://mail.example:1', identity: { spki: [`sha256/${'A'.repeat(43)}=`] }, region: 'eu-west' },
  ...{ receives: ['operational', 'personal'], assurance: 'none' },
};

/** Subprocessors that never answer. */
class Silence {
  send(_to: string, _call: unknown, _bytes: Uint8Array, signal: AbortSignal): Promise<never> {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('given up'))));
  }
}

const ATTACKS: Readonly<Record<string, ResourceAttack>> = {
  'many small requests for the memory that one large one may not have': {
    layer: 'sum of declared memory',
    of: 'governor',
    limits: { wall: '300s', cpu: '40s' },
    options: () => ({ capacity: { memory: 64 * 1024 * 1024, processors: 100 } }),
    handlers: { Watch: WAIT },
    succeeds: (lab) => exceeds(lab, 6, 4),
  },
  'many small requests for the processor that one large one may not have': {
    layer: 'sum of declared processor',
    of: 'governor',
    limits: { wall: '300s', cpu: '40s' },
    options: () => ({ capacity: { memory: 2 ** 40, processors: 1 } }),
    handlers: { Watch: WAIT },
    succeeds: (lab) => exceeds(lab, 12, 7), // 7 × 134 ‰
  },
  'more requests than may be in flight': {
    layer: 'requests in flight',
    of: 'governor',
    options: () => ({ capacity: { memory: 2 ** 40, processors: 1000 } }),
    limits: { wall: '300s', inFlight: 5 },
    handlers: { Watch: WAIT },
    succeeds: (lab) => exceeds(lab, 9, 5),
  },
  'a declaration given back twice': {
    layer: 'one return of each',
    of: 'governor',
    options: () => ({ capacity: { memory: 2 ** 40, processors: 1000 } }),
    limits: { wall: '300s', inFlight: 5 },
    handlers: { Watch: WAIT, Sum: 'return {}' },
    succeeds: async (lab) => {
      for (let i = 0; i < 5; i++) await lab.call('Sum', {});
      return exceeds(lab, 9, 5);
    },
  },
  'a request to a strained machine': {
    layer: 'pressure',
    of: 'governor',
    options: () => ({ readings: () => ({ ...CALM, pressure: { memory: 51, cpu: 0 } }) }),
    handlers: { Sum: 'return {}' },
    succeeds: (lab) => answered(lab, 'Sum', {}),
  },
  'a request to a hot machine': {
    layer: 'temperature',
    of: 'governor',
    options: () => ({ readings: () => ({ ...CALM, warmest: 91 }) }),
    limits: { thermal: 90 },
    handlers: { Sum: 'return {}' },
    succeeds: (lab) => answered(lab, 'Sum', {}),
  },
  'a machine that stops showing its pressure': {
    layer: 'absent is not calm',
    of: 'governor',
    options: () => ({ readings: vanishing() }),
    handlers: { Sum: 'return {}' },
    succeeds: async (lab) => {
      await sleep(1100);
      return answered(lab, 'Sum', {});
    },
  },
  'a stream that sends nothing, to keep its place': {
    layer: 'wall time',
    of: 'calls',
    handlers: { Watch: WAIT },
    succeeds: (lab) => goesOn(lab, 'Watch', {}, 3500),
  },
  'a message to somebody who never answers, with nobody to wait for it': {
    layer: 'wall time of egress',
    of: 'calls',
    options: () => ({ Broker: Silence as unknown as typeof EgressBroker }),
    policy: { subprocessors: { mailer: MAILER } },
    handlers: { Tell: 'ctx.call.mailer.Send({}).catch(() => {}); return {}' },
    succeeds: (lab) => goesOn(lab, 'Tell', {}, 3500),
  },
  'a loop that never ends, and never lets the loop turn': {
    layer: "the kernel's count",
    of: 'classes',
    options: () => ({ stall: 60_000 }),
    limits: { wall: '300s' },
    handlers: { Put: 'for (;;);' },
    succeeds: (lab) => goesOn(lab, 'Put', {}, 5000),
  },
  'work in small sips, with a question in between': {
    layer: 'charge by call',
    of: 'classes',
    options: () => ({ stall: 60_000 }),
    limits: { wall: '300s' },
    handlers: {
      Sum: `${SIP} for (let i = 0; i < 150; i++) { sum(); await ctx.store.open.get('k'); } return { count: 1 }`,
    },
    succeeds: (lab) => answered(lab, 'Sum', {}),
  },
  'work on the account of those who wait': {
    layer: 'charge by call',
    of: 'classes',
    options: () => ({ stall: 60_000, capacity: { memory: 2 ** 40, processors: 100 } }),
    limits: { wall: '300s' },
    handlers: {
      Sum: `${SIP} for (let i = 0; i < 150; i++) { sum(); await ctx.store.open.get('k'); } return { count: 1 }`,
      Watch: WAIT,
    },
    succeeds: async (lab) => {
      const abort = new AbortController();
      const waiting = Array.from({ length: 20 }, () => lab.call('Watch', {}, abort.signal));
      const done = await answered(lab, 'Sum', {});
      abort.abort();
      await Promise.all(waiting);
      return done;
    },
  },
  'work done ahead, while the bundle is evaluated for nobody yet': {
    layer: 'charge by call',
    of: 'classes',
    limits: { wall: '300s', cpu: '30ms' },
    handlers: `${SIP} for (let i = 0; i < 60; i++) if (sum() === 0) throw 0;
      exports.handlers = new Proxy({}, { get: () => async () => ({}) });`,
    succeeds: (lab) => answered(lab, 'Sum', {}),
  },
  'memory hoarded from message to message': {
    layer: 'sum of heap',
    of: 'classes',
    limits: { wall: '300s', cpu: '10s' },
    handlers: { Collect: HOARD },
    succeeds: (lab) =>
      answered(
        lab,
        'Collect',
        Array.from({ length: 10 }, (_, at) => ({ key: `k${at}` })),
      ),
  },
};

/** A kernel that shows its pressure once. */
function vanishing(): () => Readings {
  let shown = false;
  return () => {
    if (shown) throw new Error('no such file');
    shown = true;
    return CALM;
  };
}

async function tried(
  { options, limits: more, policy, handlers, succeeds }: ResourceAttack,
  weakness: Weakness,
): Promise<boolean> {
  const governance = limits(more);
  const readings = (): Readings => CALM;
  const lab = await openLab({ policy: { governance, ...policy }, readings, ...options?.(), handlers, ...weakness });
  try {
    return await succeeds(lab);
  } finally {
    lab.close();
  }
}

/** Every attack on budgets. */
export const resourceAttacks: readonly Attack[] = Object.entries(ATTACKS).map(([name, attack]): Attack => {
  const { layer, of } = attack;
  return {
    group: 'resources',
    name,
    layer,
    attempt: () => tried(attack, {}),
    control: async () => tried(attack, await without[of](layer)),
  };
});
