/** Attacks on time and memory: a handler that spins, fills or waits, while another call wants an answer. */

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import * as detectors from '../../runtime/src/flow/detectors.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { oneClass, openLab } from '../support/lab.ts';
import { type Attack, lasts, settling } from './attack.ts';
import { weakened } from './weakened.ts';

/** Handlers that never let the loop turn. The layer is the watch on it. */
const SPINS: Readonly<Record<string, string>> = {
  'a loop without end': 'for (;;);',
  'microtasks without end': 'for (;;) await 0;',
  'a pattern that backtracks': 'return { flag: /^(a+)+$/.test("a".repeat(60) + "b") }',
  'a comparison that never tires': 'return { count: [3, 2, 1].sort(() => { for (;;); }) }',
  'a getter that loops while the answer is written': 'return { get word() { for (;;); } }',
  'a thenable that loops': 'return { then() { for (;;); } }',
  'a number without end': 'let n = 3n; for (;;) n *= n;',
  'a proxy that loops while the answer is written': 'return new Proxy({}, { ownKeys() { for (;;); } })',
};

/** Handlers that take more than a worker has: the process dies of it, and only the process. */
const BOMBS: Readonly<Record<string, string>> = {
  'an iterable without end': 'return { words: [...(function* () { for (;;) yield "x"; })()] }',
  'objects without end': 'const kept = []; for (;;) kept.push(new Array(1e5).fill({}));',
  'a text that doubles':
    'let text = "x".repeat(1 << 20); const kept = []; for (;;) { kept.push(text + kept.length); kept.push([...text]); }',
  'an answer beyond a frame': 'return { word: "x".repeat(9 * 1024 * 1024) }',
  'an operation beyond a frame': 'await ctx.store.cases.put("k", "x".repeat(9 * 1024 * 1024)); return {}',
};

/** Far more than an honest worker is kept waiting for a processor on a busy machine. */
const STALL_MS = 2000;
const HONEST = { key: 'honest' };

/** Whether an honest call, made while the hostile one runs, is not answered. */
async function starved(body: string, stall: number): Promise<boolean> {
  const lab = await openLab({
    handlers: { Put: body, Sum: "return { key: request.key, word: 'answered' }" },
    classes: oneClass,
    stall,
    heap: 64,
  });
  try {
    const { signal, abort } = abortable();
    const hostile = lab.call('Put', {}, signal);
    await sleep(20);
    const honest = lab.call('Sum', HONEST).then(({ status }) => status === 0);
    const waits = await lasts(settling(honest), 1500);
    abort();
    hostile.catch(() => {});
    return waits || !(await honest);
  } finally {
    lab.close();
  }
}

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/** Whether the hostile call itself was answered with success. */
async function taken(body: string, heap: number): Promise<boolean> {
  const lab = await openLab({ handlers: { Put: body, Sum: 'return {}' }, classes: oneClass, heap });
  try {
    const { status } = await lab.call('Put', {});
    return status === 0 || (await lab.call('Sum', HONEST)).status !== 0;
  } finally {
    lab.close();
  }
}

/** Every attack on time and memory. */
export const budgetAttacks: readonly Attack[] = [
  ...Object.entries(SPINS).map(
    ([name, body]): Attack => ({
      group: 'budget',
      name,
      layer: 'watch on the loop',
      attempt: () => starved(body, STALL_MS),
      control: () => starved(body, HANGS_MS),
    }),
  ),
  ...Object.entries(BOMBS).map(
    ([name, body]): Attack => ({
      group: 'budget',
      name,
      layer: 'process of its own',
      attempt: () => taken(body, 64),
      // In the runtime's own process there is nobody left to answer: the same code, with nothing around it but a limit on time.
      control: () => diesInProcess(body),
    }),
  ),
  {
    group: 'budget',
    name: 'a text that a detector looks at from each of its characters to its end',
    layer: 'patterns with one beginning',
    attempt: async () => tires(detectors),
    control: async () =>
      tires(await import(weakened('runtime/src/flow/detectors.ts', { off: ['patterns with one beginning'] }))),
  },
];

/** Whether a look at 32 KiB takes a second of processor time, in which the runtime does nothing else. */
function tires({ detect }: typeof detectors): boolean {
  const before = process.threadCpuUsage();
  detect(['credential'], ['-eyJ'.repeat(8 * 1024)], new Set());
  const { user, system } = process.threadCpuUsage(before);
  return user + system > 1_000_000;
}

/** Whether a process that runs the body itself ends with it, or has more to send than any frame may hold. */
function diesInProcess(body: string): Promise<boolean> {
  const program = `
    const ctx = { store: { cases: { put: async (key, value) => { if (value.length > 8388608) process.exit(3) } } } };
    (async () => { ${body} })().then((answer) => process.exit(JSON.stringify(answer).length > 8388608 ? 3 : 0));`;
  return new Promise((resolve) => {
    const options = ['--max-old-space-size=64', '--eval', program];
    execFile(process.execPath, options, { timeout: HANGS_MS }, (error) => resolve(error !== null));
  });
}
