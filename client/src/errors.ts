/** Errors that end a connection attempt on the client's side. */

import type { Verdict } from '@enclaim/attestation';

/**
 * The evidence is authentic, and not what is demanded. Nothing was sent.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect, VerdictError } from '@enclaim/client';
 *
 * try {
 *   const references = await readFile('references.json');
 *   await using server = await connect('intake.example:443', { references });
 *   console.log(server.getTarget());
 * } catch (error) {
 *   if (!(error instanceof VerdictError)) throw error;
 *   for (const { id, outcome, detail } of error.verdict.checks) console.error(outcome, id, detail);
 * }
 * ```
 */
export class VerdictError extends Error {
  override readonly name = 'VerdictError';
  readonly code = 'verdict';
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    const failed = verdict.checks.filter(({ outcome, required }) => required && outcome !== 'passed');
    super(`verdict is not ok: ${failed.map(({ id, detail }) => `${id}: ${detail}`).join('; ')}`);
    this.verdict = verdict;
  }
}

/** Why a connection could not be used. */
export type ChannelErrorCode =
  | 'unreachable' // no TCP or TLS connection
  | 'timeout' // the exchange took too long
  | 'protocol' // the other end does not speak the attested handshake as it should
  | 'listen' // a proxy cannot, or must not, listen there
  | 'closed' // the channel was closed
  | 'receipt'; // a response came without a valid receipt

/**
 * The channel failed below or beside the evidence.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { ChannelError, connect } from '@enclaim/client';
 *
 * try {
 *   const references = await readFile('references.json');
 *   await using server = await connect('intake.example:443', { references });
 *   console.log(server.getTarget());
 * } catch (error) {
 *   if (error instanceof ChannelError) console.error(error.code); // unreachable, timeout, …
 * }
 * ```
 */
export class ChannelError extends Error {
  override readonly name = 'ChannelError';
  readonly code: ChannelErrorCode;

  constructor(code: ChannelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
