/** The header by which a subprocessor knows this system, as one message has it. */

import { secretFault } from '@enclaim/attestation/secrets';
import type { HeaderCredential } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Vault } from './vault.ts';

/** Bytes that three groups of base64 begin apart. */
const BASE64_PHASES = [0, 1, 2] as const;
/** Characters of a secret that answers are searched for. */
const MAX_SOUGHT_CHARS = 64;
const BACKSLASH = 0x5c;
const SMALL_U = 0x75;
/** Stands for a character that no secret has. */
const OTHER = 0;

/** Gives what is shown on a connection whose peer is identified. @throws RefusalError `secret` */
export type Show = () => ShownCredential | undefined;

/** A header with its secret, for one message. */
export class ShownCredential {
  readonly header: string;
  readonly value: string;
  readonly #secret: string;

  /**
   * @param pointer of the policy
   * @throws RefusalError `secret` if the vault has no value. The refusal ends the call: a handler
   * that could go on would probe when the owner brings one.
   */
  constructor({ header, scheme, secret }: HeaderCredential, vault: Pick<Vault, 'get'>, pointer: string) {
    const value = vault.get(secret);
    if (value === undefined)
      throw new RefusalError('secret', `the secret ${secret} is not there`, {
        pointer,
        /* layer: no secret ends the call (off: undefined) */ final: true,
      });
    this.#secret = Buffer.from(value).toString('latin1');
    // A policy of before may have named a certificate so, with its private key.
    const fault = secretFault(value);
    if (fault !== undefined)
      throw new RefusalError('secret', `the secret ${secret}: ${fault}`, { pointer, final: true });
    this.header = header;
    this.value = scheme === undefined ? this.#secret : `${scheme} ${this.#secret}`;
  }

  /**
   * Whether an answer repeats the secret: as it was sent, in the escapes of JSON, or as base64.
   *
   * **Bound**: no more than the last characters are searched for, so that the work is within a
   * multiple of the answer's length for any secret. The first ones could be those of other tokens
   * of the same issuer.
   */
  isIn(body: Uint8Array): boolean {
    const sought = Buffer.from(this.#secret.slice(-MAX_SOUGHT_CHARS), 'latin1');
    const forms = [sought, ...BASE64_PHASES.flatMap((phase) => inBase64(sought, phase))];
    const sent = Buffer.from(body.buffer, body.byteOffset, body.length);
    const readings = sent.includes(BACKSLASH) ? [sent, unescaped(sent)] : [sent];
    return readings.some((bytes) => forms.some((form) => bytes.includes(form)));
  }
}

/** A text without the escapes of JSON (RFC 8259, section 7); "n" stands for the end of a line. */
function unescaped(body: Buffer): Buffer {
  const bytes = Buffer.alloc(body.length);
  let length = 0;
  for (let at = 0; at < body.length; at++) {
    let byte = body[at] ?? 0;
    if (byte === BACKSLASH) {
      byte = body[++at] ?? 0;
      if (byte === SMALL_U) {
        byte = codeOf(body, at + 1);
        at += 4;
      }
    }
    bytes[length++] = byte;
  }
  return bytes.subarray(0, length);
}

/** The byte that four hex digits stand for. */
function codeOf(body: Buffer, from: number): number {
  let code = 0;
  for (let at = from; at < from + 4; at++) code = code * 16 + digitOf(body[at] ?? 0);
  return code <= 0xff ? code : OTHER;
}

/** The value of a hex digit; beyond every byte's if it is none. */
function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 0x1000;
}

/**
 * The characters of base64 that bytes have wherever they begin so many bytes into a group, in both
 * alphabets (RFC 4648, sections 4 and 5).
 */
function inBase64(bytes: Uint8Array, phase: number): Buffer[] {
  const whole = Buffer.concat([Buffer.alloc(phase), bytes]);
  const first = phase === 0 ? 0 : phase + 1;
  const last = whole.length % 3 === 0 ? undefined : -1;
  const made = whole.toString('base64url').slice(first, last);
  const standard = made.replaceAll('-', '+').replaceAll('_', '/');
  return [...new Set([made, standard])].map((text) => Buffer.from(text, 'latin1'));
}
