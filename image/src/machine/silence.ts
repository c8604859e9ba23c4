/**
 * How long a program has said nothing although it could have: time in which it waited for a
 * processor that other programs had does not count. So a machine on a busy computer is given what
 * it needs, and one that hangs is found in the same time as on a quiet one.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Looks at most so many times within the silence that is allowed. */
const LOOKS = 20;

export interface Silence {
  /** The program said something: its silence begins anew. */
  broken(): void;
  /** Nothing is waited for any more. */
  end(): void;
}

/**
 * Calls `whenOver` once a program was silent for `allowed` milliseconds of its own time.
 *
 * @param ownTime Its time so far, in milliseconds: {@link timeToRun}.
 */
export function watchSilence(allowed: number, ownTime: () => number, whenOver: () => void): Silence {
  let since = ownTime();
  const timer = setInterval(() => {
    if (ownTime() - since < allowed) return;
    clearInterval(timer);
    whenOver();
  }, allowed / LOOKS);
  return {
    broken: () => {
      since = ownTime();
    },
    end: () => clearInterval(timer),
  };
}

/** Milliseconds, from any beginning, in which process `pid` ran or had nothing to do. */
export function timeToRun(pid: number): number {
  return performance.now() - waitedForProcessor(pid);
}

/**
 * Milliseconds for which the thread of process `pid` that waited longest has waited for a
 * processor (Linux, Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`); 0 where the
 * kernel does not tell.
 */
export function waitedForProcessor(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const waits = unlessGone(() => readdirSync(tasks), []).map((task) => {
    const [, waiting = ''] = unlessGone(() => readFileSync(`${tasks}/${task}/schedstat`, 'utf8'), '').split(' ');
    return Number(waiting) / 1e6 || 0;
  });
  return Math.max(0, ...waits);
}

/**
 * The result of `read`, or `otherwise` where a process or thread has just ended, or the kernel has
 * no such figures.
 */
function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
