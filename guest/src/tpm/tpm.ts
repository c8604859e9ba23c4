/**
 * Runs TPM commands over a transport: framing, authorisations, response codes, retries (Part 1,
 * 18).
 */

import { setTimeout as delay } from 'node:timers/promises';
import { concat, Reader } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { MAX_DIGEST, struct, tpm2b, u8, u16, u32 } from '@enclaim/attestation/tpm';
import { type Command, FLUSH_CONTEXT } from './commands.ts';
import { errorOf, TpmError, type TpmErrorCode } from './error.ts';
import { Queue } from './queue.ts';
import type { SaltedSession } from './salted-session.ts';
import type { TpmTransport } from './transport.ts';

const HEADER = struct({ tag: u16, size: u32, code: u32 });
const HEADER_LENGTH = 10;
const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;

/** TPMS_AUTH_RESPONSE; in TPMS_AUTH_COMMAND the session's handle stands before it. */
const AUTH = struct({ nonce: tpm2b(MAX_DIGEST), attributes: u8, hmac: tpm2b(MAX_DIGEST) });
const CONTINUE_SESSION = 0x01;
const EMPTY = new Uint8Array();

/**
 * An authorisation to use a handle: by its password, or by a policy that a session has satisfied,
 * or by a salted session, which also encrypts the command's or the response's first parameter.
 *
 * `names` are those of all handles of the command, in their order. A command has one salted
 * authorisation at most, and the first of its handles has it.
 */
export type Authorisation =
  | { readonly kind: 'password'; readonly password: Uint8Array }
  | { readonly kind: 'policy'; readonly session: number }
  | {
      readonly kind: 'salted';
      readonly session: SaltedSession;
      readonly names: readonly Uint8Array[];
      readonly encrypts: 'command' | 'response';
    };

const EMPTY_PASSWORD: Authorisation = { kind: 'password', password: EMPTY };
const RS_PW = 0x4000_0009;

/**
 * Answers that ask to be asked again: the TPM was busy, gave way, or was testing itself; or it
 * spares its non-volatile memory after a burst of writes.
 */
const RETRIED: ReadonlySet<TpmErrorCode> = new Set(['retry', 'yielded', 'testing', 'nv-rate', 'nv-unavailable']);
const ATTEMPTS = 16;
/** Milliseconds; doubled with each attempt up to the longest. All together two seconds. */
const FIRST_DELAY = 1;
const MAX_DELAY_MS = 250;

/** A TPM 2.0. Commands may overlap; the transport answers them in turn. */
export class Tpm {
  readonly #transport: TpmTransport;
  readonly #sequences = new Queue();

  constructor(transport: TpmTransport) {
    this.#transport = transport;
  }

  /**
   * Runs one command. Handles without an authorisation in `auths`, by position, get the empty
   * password.
   * @throws TpmError
   */
  async run<In, Out>(command: Command<In, Out>, input: In, auths: readonly Authorisation[] = []): Promise<Out> {
    const request = encodeCommand(command, input, auths);
    for (let attempt = 1, wait = FIRST_DELAY; ; attempt++, wait = Math.min(2 * wait, MAX_DELAY_MS)) {
      const response = await this.#transport.send(request);
      try {
        return decodeResponse(command, response, auths[0]);
      } catch (error) {
        if (!(error instanceof TpmError && RETRIED.has(error.code)) || attempt === ATTEMPTS) throw error;
      }
      await delay(wait);
    }
  }

  /** Runs `use` with a loaded object or session, and flushes it on every path. */
  async using<T>(handle: number, use: (handle: number) => Promise<T>): Promise<T> {
    let result: T;
    try {
      result = await use(handle);
    } catch (error) {
      // The first failure is the one to tell, even if the flush fails of the same cause.
      await this.run(FLUSH_CONTEXT, { object: handle }).catch(() => undefined);
      throw error;
    }
    await this.run(FLUSH_CONTEXT, { object: handle });
    return result;
  }

  /**
   * Runs a sequence of commands that loads objects or sessions, with no other such sequence at the
   * same time: a TPM has room for three objects, of which the attestation key is one. Sequences
   * must not be nested.
   */
  alone<T>(sequence: () => Promise<T>): Promise<T> {
    return this.#sequences.run(sequence);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }
}

function encodeCommand<In, Out>(command: Command<In, Out>, input: In, auths: readonly Authorisation[]): Uint8Array {
  const handles = [...command.authorised, ...command.handles].map((name) => u32.encode(Number(input[name])));
  const plain = command.parameters.encode(input);
  const [first] = auths;
  const salted = first?.kind === 'salted' ? first.session.command(command.code, plain, first) : undefined;
  const authArea = concat(
    ...command.authorised.map((_, i) =>
      salted !== undefined && i === 0 ? salted.authorisation : encodeAuth(auths[i] ?? EMPTY_PASSWORD),
    ),
  );
  const body = concat(
    ...handles,
    ...(authArea.length > 0 ? [u32.encode(authArea.length), authArea] : []),
    salted?.parameters ?? plain,
  );
  const tag = authArea.length > 0 ? SESSIONS : NO_SESSIONS;
  return concat(HEADER.encode({ tag, size: HEADER_LENGTH + body.length, code: command.code }), body);
}

/**
 * A policy that asks for no secret has an empty HMAC, and so proves nothing of who sent the
 * command.
 */
function encodeAuth(auth: Authorisation): Uint8Array {
  if (auth.kind === 'salted') throw new RangeError('a salted session that is not the first authorisation');
  const [session, hmac] = auth.kind === 'password' ? [RS_PW, auth.password] : [auth.session, EMPTY];
  return concat(u32.encode(session), AUTH.encode({ nonce: EMPTY, attributes: CONTINUE_SESSION, hmac }));
}

function decodeResponse<In, Out>(
  command: Command<In, Out>,
  response: Uint8Array,
  auth: Authorisation | undefined,
): Out {
  try {
    const reader = new Reader(response);
    const { tag, size, code } = HEADER.decode(reader);
    if (size !== response.length) throw new DecodeError('range', `size is ${size}, not ${response.length}`, 2);
    if (code !== 0) throw errorOf(code, command.name);
    const expected = command.authorised.length > 0 ? SESSIONS : NO_SESSIONS;
    if (tag !== expected) throw new DecodeError('range', `tag is 0x${tag.toString(16)}`, 0);
    const handle = command.returnsHandle ? { handle: reader.u32be() } : {};
    const body = reader.take(tag === SESSIONS ? reader.u32be() : reader.left);
    const [answer] = command.authorised.map(() => AUTH.decode(reader));
    reader.end(`the response to ${command.name}`);
    const isSalted = auth?.kind === 'salted' && answer !== undefined;
    const parameters = new Reader(isSalted ? auth.session.response(command.code, body, answer, auth) : body);
    const fields = command.response.decode(parameters);
    parameters.end(`the parameters of ${command.name}`);
    return { ...handle, ...fields } as Out;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new TpmError('response', `malformed response to ${command.name}: ${error.message}`, { cause: error });
  }
}
