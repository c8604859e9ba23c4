/**
 * Attacks by what the engine knows of the bundle's code: `Sum` reads a secret that it may not return and leaves it in that
 * knowledge, `Put` reads nothing and sees it by how deep its stack is. Nothing is timed.
 */

import type { WorkerClass } from '@enclaim/policy-schema/admission';
import { openLab } from '../support/lab.ts';
import type { Attack } from './attack.ts';

/** Bits of one secret. */
const BITS = 32;
/** Bits that have to be right: fewer are guessed, once in a million. */
const ENOUGH = 29;
/** A busy machine may take longer to compile what is hot than the attack gives it. */
const TRIES = 4;

/** One way: `top` has a function `leave(i)` for a one, and `look(i)`, a number that is larger for a one, for so many bits. */
export interface EngineState {
  readonly name: string;
  top(bits: number): string;
}

const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i);
const LOCALS = upTo(20);
/** Calls go over functions of no fixed target, so that what is compiled stays fit for the next instance of the bundle. */
const WAYS = `const ways = [${LOCALS.map(() => '(f, n) => f(ways[0], n)').join()}];`;

/** Optimised code has no room for variables that are dead, so that more calls of it find place on the stack. */
export const HOT: EngineState = {
  name: 'say a secret by how deep a function recurses that it has made hot',
  top: (bits) => `let count;
    ${WAYS}
    const hot = [${upTo(bits)
      .map(
        (i) => `(way, n) => { count++; const ${LOCALS.map((k) => `v${k} = n + ${k}`).join()};
          return n === 0 ? ${i} + ${LOCALS.map((k) => `v${k}`).join('+')} : way(hot[${i}], n - 1) + 1 }`,
      )
      .join()}];
    const leave = (i) => { for (let n = 0; n < 20000; n++) hot[i](ways[n % ways.length], 3) };
    const look = (i) => { count = 0; try { hot[i](ways[0], 1e9) } catch {} return count };`,
};

/** A function is compiled when it is first called, which takes more of the stack than the call. */
export const LAZY: EngineState = {
  name: 'say a secret by which functions are compiled where the stack ends',
  top: (bits) => `const lazy = [${upTo(bits)
    .map((i) => `(n) => ${'~'.repeat(600)}n + ${i}`)
    .join()}];
    let found;
    const down = (i) => {
      let above;
      try { above = down(i) } catch { return 0 }
      if (above === 200) try { lazy[i](1); found = 1 } catch { found = 0 }
      return above + 1;
    };
    const leave = (i) => lazy[i](1);
    const look = (i) => { down(i); return found };`,
};

const METHODS = ['lab.v1.Lab/Put', 'lab.v1.Lab/Sum'] as const;

/** The two methods in their classes, or in one as if nothing kept them apart. */
export type Kept = 'apart' | 'together';
const CLASSES: Readonly<Record<Kept, (all: readonly WorkerClass[]) => readonly WorkerClass[]>> = {
  apart: (all) => all.filter(({ methods }) => METHODS.some((id) => methods.includes(id))),
  together: () => [{ methods: METHODS, learns: [] }],
};

/** How many bits of a secret, which `Sum` has read, `Put` answers with. A one and a zero stand before it, to read the rest by. */
export async function bitsTold({ top }: EngineState, kept: Kept, bits: number = BITS): Promise<number> {
  const secret = upTo(bits).map(() => Math.round(Math.random()));
  const text = [1, 0, ...secret].join('');
  const lab = await openLab({
    classes: CLASSES[kept],
    stall: 60_000,
    handlers: `${top(text.length)} exports.handlers = {
      'lab.v1.Lab/Put': async ({ text }, ctx) => {
        if (text) await ctx.store.cases.put('secret', text); // which stays if the call ends well
        return { words: text ? [] : Array.from({ length: ${text.length} }, (_, i) => String(look(i))) };
      },
      'lab.v1.Lab/Sum': async ({ key }, ctx) => {
        if ((await ctx.store.cases.get('secret'))[Number(key)] === '1') leave(Number(key));
      },
    };`,
  });
  try {
    await lab.call('Put', { text });
    for (const key of upTo(text.length)) await lab.call('Sum', { key: String(key) });
    const { messages } = await lab.call('Put', {});
    const [one = 0, zero = 0, ...seen] = ((messages[0] as { words?: string[] })?.words ?? []).map(Number);
    return seen.filter((depth, i) => Number(depth > (one + zero) / 2) === secret[i]).length;
  } finally {
    lab.close();
  }
}

async function told(state: EngineState, kept: Kept): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) if ((await bitsTold(state, kept)) >= ENOUGH) return true;
  return false;
}

/** Every attack by the engine's knowledge of code. */
export const engineAttacks: readonly Attack[] = [HOT, LAZY].map(
  (state): Attack => ({
    group: 'engine state',
    name: state.name,
    layer: 'workers by clearance',
    attempt: () => told(state, 'apart'),
    control: () => told(state, 'together'),
  }),
);
