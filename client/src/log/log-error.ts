/** Errors of reading a log. */

/** Why a log, or what a server said of it, is not believed. */
export type LogErrorCode =
  | 'unsupported' // the boot's statement names no log key
  | 'checkpoint' // not a checkpoint of this boot's log under its log key
  | 'shrunk' // smaller than what was seen before, or than what the boot began with
  | 'fork' // no continuation of what was seen before, or of what the boot began with
  | 'tile' // a tile or an entry that does not lead to the checkpoint's root
  | 'answer' // an answer that is too long, too short, or no message of its type
  | 'silent' // a watch that tells nothing new, and no more
  | 'refused'; // the server refused; `status` is gRPC's

/**
 * A log could not be read as one that only grows.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { LogError, LogReader } from '@enclaim/client/log';
 *
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * try {
 *   console.log((await new LogReader(channel).checkpoint()).size);
 * } catch (error) {
 *   if (error instanceof LogError) console.error(error.code); // fork, shrunk, …
 * }
 * ```
 */
export class LogError extends Error {
  override readonly name = 'LogError';
  readonly code: LogErrorCode;
  /** gRPC's number of the status, if the server refused. */
  readonly status: number | undefined;

  constructor(code: LogErrorCode, message: string, options: ErrorOptions & { readonly status?: number } = {}) {
    super(message, options);
    this.code = code;
    this.status = options.status;
  }
}
