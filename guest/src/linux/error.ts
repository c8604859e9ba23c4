/** The error of every system call that the guest makes. */
import { constants } from 'node:os';

/** The name of a Linux error number, `EUNKNOWN` for a number that Node has no name for. */
export type ErrnoName = keyof typeof constants.errno | 'EUNKNOWN';

const NAMES: ReadonlyMap<number, ErrnoName> = new Map(
  (Object.entries(constants.errno) as [ErrnoName, number][]).map(([name, number]) => [number, name]),
);

/**
 * A system call failed, or the kernel showed something that the guest does not accept (`code` says
 * which errno fits).
 */
export class LinuxError extends Error {
  override readonly name = 'LinuxError';
  readonly code: ErrnoName;
  /** The call and what it was for, such as `mount /proc`. */
  readonly call: string;

  constructor(code: ErrnoName, call: string, detail?: string) {
    super(`${call}: ${code}${detail === undefined ? '' : ` (${detail})`}`);
    this.code = code;
    this.call = call;
  }
}

/** The name of error number `errno`. */
export function errnoName(errno: number): ErrnoName {
  return NAMES.get(errno) ?? 'EUNKNOWN';
}
