/** The error of a command that was called in a way that cannot work. */

/** The command was called in a way that cannot work; the message says what would. Exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
}
