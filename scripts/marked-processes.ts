/**
 * Processes of one run of tests: those that carry its mark in their environment, and those below
 * them.
 */

import { readdirSync, readFileSync } from 'node:fs';

/** The name of the mark: a word that only one run has. */
export const RUN_MARK = 'ENCLAIM_TEST_RUN';
/** Names the test file that started a process. */
export const FILE_MARK = 'ENCLAIM_TEST_FILE';

/** Clock ticks a second in /proc, on every Linux that Node runs on. */
export const TICKS = 100;

/** A process that runs. */
export interface FoundProcess {
  readonly pid: number;
  readonly parent: number;
  /** Its program and words. */
  readonly words: string;
  /** `NAME=VALUE` of its start; empty if it may not be read. */
  readonly environment: readonly string[];
}

/** All processes that run and are no threads of the kernel. */
export function allProcesses(): FoundProcess[] {
  const found: FoundProcess[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const read = (file: string): string => readFileSync(`/proc/${name}/${file}`, 'latin1');
      const stat = read('stat');
      // The program's name stands in brackets and may contain any of them.
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' || state === 'X') continue;
      const words = read('cmdline').split('\0').join(' ').trim();
      found.push({ pid: Number(name), parent: Number(parent), words, environment: environmentOf(read) });
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

function environmentOf(read: (file: string) => string): string[] {
  try {
    return read('environ').split('\0');
  } catch {
    return [];
  }
}

/** Processes below one, at any depth. */
export function processesBelow(pid: number, all: readonly FoundProcess[] = allProcesses()): FoundProcess[] {
  const children = all.filter(({ parent }) => parent === pid);
  return children.flatMap((child) => [child, ...processesBelow(child.pid, all)]);
}

/**
 * Processes with this mark, and those below them that were given no environment; never this
 * process.
 * @param file - Keeps to what this test file started, and to its own process.
 */
export function markedProcesses(mark: string, file?: string): FoundProcess[] {
  const all = allProcesses();
  const ofFile = ({ words, environment }: FoundProcess): boolean =>
    file === undefined || environment.includes(`${FILE_MARK}=${file}`) || words.endsWith(` ${file}`);
  const ofRun = ({ environment }: FoundProcess): boolean => environment.includes(`${RUN_MARK}=${mark}`);
  const found = new Map<number, FoundProcess>();
  for (const marked of all.filter((each) => ofRun(each) && ofFile(each)))
    for (const one of [marked, ...processesBelow(marked.pid, all)]) found.set(one.pid, one);
  found.delete(process.pid);
  return [...found.values()];
}

/** The test file that started a process, or null. */
export function fileOf({ environment }: FoundProcess): string | null {
  const word = environment.find((each) => each.startsWith(`${FILE_MARK}=`));
  return word === undefined ? null : word.slice(FILE_MARK.length + 1);
}

/**
 * The state of a process, as the kernel gives it: its number and its parent's, its state, seconds
 * of processor, threads, the call in the kernel that it waits in, and its words.
 */
export function seenFromOutside({ pid, parent, words }: FoundProcess): string {
  const read = (file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1').trim();
    } catch {
      return '?'; // it has ended, or this user may not know
    }
  };
  const stat = read('stat');
  const [state = '?', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const seconds = ((Number(rest[10]) + Number(rest[11])) / TICKS).toFixed(1);
  const stack = read('stack')
    .replaceAll(/\[<0>\] |\+0x\S+/g, '')
    .split('\n')
    .slice(0, 4)
    .join(' < ');
  const at = `${state} ${seconds} s, ${rest[16]} threads, in ${read('wchan')} (${stack})`;
  return `  ${pid} of ${parent}: ${at}: ${words.slice(0, 200)}`;
}

/** Ends processes for good. */
export function killAll(processes: readonly FoundProcess[]): void {
  for (const { pid } of processes)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
}
