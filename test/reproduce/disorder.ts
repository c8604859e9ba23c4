/** Loaded before a build: folders list their entries in another order each time, and it is a year later. */

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** Fisher-Yates, and never the order that it was. */
function shuffled<T>(entries: T[]): T[] {
  const out = [...entries];
  for (let at = out.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [out[at], out[other]] = [out[other] as T, out[at] as T];
  }
  return out.some((entry, index) => entry !== entries[index]) ? out : out.reverse();
}

const { readdir, readdirSync } = fs;
const readdirPromise = fs.promises.readdir;
type Listed = (...args: never[]) => Promise<unknown[]>;
fs.readdirSync = ((...args: Parameters<typeof readdirSync>) => shuffled(readdirSync(...args))) as typeof readdirSync;
fs.promises.readdir = (async (...args: never[]) =>
  shuffled(await (readdirPromise as unknown as Listed)(...args))) as typeof readdirPromise;
fs.readdir = ((...args: unknown[]) => {
  const done = args.pop() as (error: Error | null, entries?: unknown[]) => void;
  const listed = (error: Error | null, entries?: unknown[]): void => done(error, entries && shuffled(entries));
  (readdir as (...all: unknown[]) => void)(...args, listed);
}) as typeof readdir;
syncBuiltinESMExports();

const YEAR_MS = 366 * 86_400_000;
const now = Date.now.bind(Date);
globalThis.Date = class extends Date {
  constructor(...args: [] | [string | number | Date]) {
    super(...((args.length === 0 ? [now() + YEAR_MS] : args) as [number]));
  }

  static override now(): number {
    return now() + YEAR_MS;
  }
} as DateConstructor;
