/** An attack: what it tries, the layer that must stop it, and the proof that nothing else would have. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { HANGS_MS } from '../support/eventually.ts';

/** Whether what runs is an attempt, or its control. */
const phase = new AsyncLocalStorage<'attempt' | 'control'>();

/**
 * Whether something goes on. In an attempt a layer ends it, and that is waited for, however slow this machine is. In a control
 * nothing is left that would, so that it has gone on for `window` milliseconds says enough.
 */
export function lasts(over: () => unknown, window: number): Promise<boolean> {
  return isNever(over, phase.getStore() === 'control' ? window : HANGS_MS);
}

/**
 * Whether something comes. In a control nothing keeps it back, and it is waited for, however slow this machine is. In an
 * attempt a layer keeps it back: that it has not come for `window` milliseconds says enough.
 */
export async function comes(there: () => unknown, window: number): Promise<boolean> {
  return !(await isNever(there, phase.getStore() === 'control' ? HANGS_MS : window));
}

async function isNever(look: () => unknown, milliseconds: number): Promise<boolean> {
  for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(5))
    if (await look()) return false;
  return !(await look());
}

/** A look whether a promise has settled. */
export function settling(promise: Promise<unknown>): () => boolean {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  return () => settled;
}

/** One attack of the suite. */
export interface Attack {
  readonly group: string;
  readonly name: string;
  /** What stops it. */
  readonly layer: string;
  /** Tries it with everything on; whether it succeeded. */
  attempt(): Promise<boolean>;
  /** Tries it with that layer off; it has to succeed, or the layer is not what stops it. */
  control(): Promise<boolean>;
}

/** How an attack went. */
export interface Result {
  readonly attack: Attack;
  /** `stopped` and `controlled`, or what was seen instead. */
  readonly outcome: 'stopped' | 'SUCCEEDED' | 'NO CONTROL';
}

/** Tries one. An attempt that throws was stopped; a control that throws shows nothing. */
export async function tryAttack(attack: Attack): Promise<Result> {
  if (await phase.run('attempt', attack.attempt).catch(() => false)) return { attack, outcome: 'SUCCEEDED' };
  const controlled = await phase.run('control', attack.control).catch(() => false);
  return { attack, outcome: controlled ? 'stopped' : 'NO CONTROL' };
}
