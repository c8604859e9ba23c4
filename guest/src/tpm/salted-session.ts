/**
 * A session whose key only this process and the TPM know: it authenticates commands and responses,
 * and encrypts the first parameter of either (Part 1, 19.6 and 21).
 */

import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { concat, utf8 } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { MAX_DIGEST, tpm2b, u8, u32 } from '@enclaim/attestation/tpm';

/** Bytes of SHA-256, of the session's key and of its nonces. */
const LENGTH = 32;
/** Bytes of the cipher's key and of its initial vector: AES-128 in the mode CFB. */
const CIPHER = { key: 16, vector: 16 } as const;
/** TPMA_SESSION. A command is decrypted by the TPM, a response encrypted by it. */
const ATTRIBUTES = { continue: 0x01, command: 0x20, response: 0x40 } as const;
const SUCCESS = u32.encode(0);

/** Use of a session by one command. */
export interface SessionUse {
  /** Names of all handles of the command, in their order. */
  readonly names: readonly Uint8Array[];
  /** The side whose first parameter is encrypted. It is a TPM2B. */
  readonly encrypts: 'command' | 'response';
}

/** The TPM's part in a session's answer. */
export interface SessionAnswer {
  readonly nonce: Uint8Array;
  readonly attributes: number;
  readonly hmac: Uint8Array;
}

/**
 * A salted session under SHA-256 and AES-128. It is bound to nothing, and authorises entities whose
 * authorisation value is empty: the salt alone makes its keys.
 *
 * **Leak**: an attacker who reads what crosses to the TPM learns no encrypted parameter, because
 * the salt crosses under a key of the TPM.
 */
export class SaltedSession {
  readonly handle: number;
  readonly #key: Uint8Array;
  #nonceTpm: Uint8Array;
  #nonceCaller: Uint8Array;

  constructor(
    handle: number,
    { salt, nonceTpm, nonceCaller }: Readonly<Record<'salt' | 'nonceTpm' | 'nonceCaller', Uint8Array>>,
  ) {
    this.handle = handle;
    this.#key = kdfA(salt, 'ATH', concat(nonceTpm, nonceCaller));
    this.#nonceTpm = nonceTpm;
    this.#nonceCaller = nonceCaller;
  }

  /** TPMS_AUTH_COMMAND of a command, and its parameters as they cross. */
  command(
    code: number,
    plain: Uint8Array,
    { names, encrypts }: SessionUse,
  ): Readonly<Record<'authorisation' | 'parameters', Uint8Array>> {
    this.#nonceCaller = randomBytes(LENGTH);
    const attributes = ATTRIBUTES.continue | ATTRIBUTES[encrypts];
    const parameters = encrypts === 'command' ? this.#crypt('encrypt', plain) : plain;
    const hash = sha256(concat(u32.encode(code), ...names, parameters));
    const hmac = this.#hmac(hash, this.#nonceCaller, this.#nonceTpm, attributes);
    const authorisation = concat(
      u32.encode(this.handle),
      tpm2b(MAX_DIGEST).encode(this.#nonceCaller),
      u8.encode(attributes),
      tpm2b(MAX_DIGEST).encode(hmac),
    );
    return { authorisation, parameters };
  }

  /**
   * The plain parameters of a response.
   * @throws DecodeError `range` if the response is not of this TPM and to this command
   */
  response(code: number, parameters: Uint8Array, answer: SessionAnswer, { encrypts }: SessionUse): Uint8Array {
    const hash = sha256(concat(SUCCESS, u32.encode(code), parameters));
    const hmac = this.#hmac(hash, answer.nonce, this.#nonceCaller, answer.attributes);
    if (answer.hmac.length !== hmac.length || !timingSafeEqual(answer.hmac, hmac)) {
      throw new DecodeError('range', 'the answer is not authenticated by the session', 0);
    }
    this.#nonceTpm = answer.nonce;
    return encrypts === 'response' ? this.#crypt('decrypt', parameters) : parameters;
  }

  #hmac(hash: Uint8Array, newer: Uint8Array, older: Uint8Array, attributes: number): Uint8Array {
    return createHmac('sha256', this.#key)
      .update(concat(hash, newer, older, u8.encode(attributes)))
      .digest();
  }

  /** The parameters with the content of their first, a TPM2B, under this direction's nonces. */
  #crypt(direction: 'encrypt' | 'decrypt', parameters: Uint8Array): Uint8Array {
    const nonces = direction === 'encrypt' ? [this.#nonceCaller, this.#nonceTpm] : [this.#nonceTpm, this.#nonceCaller];
    const stream = kdfA(this.#key, 'CFB', concat(...nonces));
    const [key, vector] = [stream.subarray(0, CIPHER.key), stream.subarray(CIPHER.key)];
    const make = direction === 'encrypt' ? createCipheriv : createDecipheriv;
    const cipher = make('aes-128-cfb', key, vector);
    const end = 2 + (((parameters[0] ?? 0) << 8) | (parameters[1] ?? 0));
    if (end > parameters.length) throw new DecodeError('range', 'the first parameter ends beyond the others', 0);
    const content = concat(cipher.update(parameters.subarray(2, end)), cipher.final());
    return concat(parameters.subarray(0, 2), content, parameters.subarray(end));
  }
}

/** The one block of KDFa that a session's keys take (Part 1, 11.4.10.2): 32 bytes. */
function kdfA(key: Uint8Array, label: string, context: Uint8Array): Uint8Array {
  return createHmac('sha256', key)
    .update(concat(u32.encode(1), utf8(`${label}\0`), context, u32.encode(LENGTH * 8)))
    .digest();
}
