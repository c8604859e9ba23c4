/**
 * How commands end: one table for all of them, for scripts (docs/reference/command-line.md has it
 * for people).
 */

/** Exit statuses by what they say. */
export const EXIT = {
  /** The command did what it was asked for, and the result holds. */
  ok: 0,
  /** Refused: a verdict, evidence, a receipt, a policy, a bundle; or a check has findings. */
  refused: 1,
  /** The command was called in a way that cannot work. */
  usage: 2,
  /** An audit found a difference. */
  different: 3,
  /**
   * The command could not try: the other end was not reached or had no time, a disk has no room, or
   * a mirror lacks an input.
   */
  unavailable: 4,
  /** A server that is what it should be answered a call with a status other than OK. */
  answered: 5,
  /** Interrupted by a signal. */
  interrupted: 130,
} as const;

/** Meanings for people: `enclaim help exit-statuses` and the manual have these words. */
export const EXIT_MEANS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'what was asked for was done, and holds',
  refused:
    "a verdict, evidence, a receipt, a policy, a bundle or a machine's boot is refused, or a check (`check`, `test`, `diff --fail-on`) has findings",
  usage: 'the command was called in a way that cannot work',
  different: 'an audit found a difference',
  unavailable:
    'it could not be tried: the other end was not reached or had no time, a disk has no room, an input is nowhere',
  answered: 'a server that is what it should be answered the call with a status other than OK',
  interrupted: 'by a signal (`run` says which: 129, 130, 143)',
};

/** One of them. */
export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

/**
 * Codes of errors that only say that the command could not try, by the name of the error's class.
 * They say nothing about what it was asked for.
 */
const UNAVAILABLE: Readonly<Record<string, ReadonlySet<string>>> = {
  ChannelError: new Set(['unreachable', 'timeout', 'closed', 'listen']),
  // Those that a channel gives by itself, too.
  CallError: new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED']),
  LogError: new Set(['silent']),
  WitnessError: new Set(['unreachable', 'timeout']),
  ImageError: new Set(['input-nowhere', 'fetch-failed', 'mirror-unknown']),
};
const NO_ROOM: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

/** The exit status of an error that ended a command. */
export function exitStatusOf(error: unknown): ExitStatus {
  if (!(error instanceof Error)) return EXIT.refused;
  if (error.name === 'AbortError') return EXIT.interrupted;
  if (hasNoRoom(error)) return EXIT.unavailable;
  if (error.name === 'UsageError') return EXIT.usage;
  const code = codeOf(error);
  if (Object.hasOwn(UNAVAILABLE, error.name) && UNAVAILABLE[error.name]?.has(code)) return EXIT.unavailable;
  // A log that is refused is not read; what is read of it and not believed is refused.
  if (error.name === 'LogError' && code === 'refused') return EXIT.answered;
  // DATA_LOSS is what a channel makes of an answer whose receipt is not good.
  return error.name === 'CallError' && code !== 'DATA_LOSS' ? EXIT.answered : EXIT.refused;
}

function hasNoRoom(error: Error): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if (NO_ROOM.has(codeOf(at))) return true;
  return false;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
