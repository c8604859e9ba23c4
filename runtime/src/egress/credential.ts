/** The header by which a subprocessor knows this system, as one message has it. */

import type { Credential } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Vault } from './vault.ts';

/** Escapes of a text in JSON (RFC 8259, section 7): a code unit, or one character. */
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|(.))/gs;
/** Bytes that three groups of base64 begin apart. */
const BASE64_PHASES = [0, 1, 2] as const;

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
  constructor({ header, scheme, secret }: Credential, vault: Pick<Vault, 'get'>, pointer: string) {
    const value = vault.get(secret);
    if (value === undefined)
      throw new RefusalError('secret', `the secret ${secret} is not there`, {
        pointer,
        /* layer: no secret ends the call (off: undefined) */ final: true,
      });
    this.#secret = Buffer.from(value).toString('latin1');
    this.header = header;
    this.value = scheme === undefined ? this.#secret : `${scheme} ${this.#secret}`;
  }

  /**
   * Whether an answer repeats the secret: as it was sent, in the escapes of JSON, or as base64.
   *
   * **Bound**: the answer is read twice, and each time searched for four forms.
   */
  isIn(body: Uint8Array): boolean {
    const sent = Buffer.from(body).toString('latin1');
    return [sent, sent.replace(ESCAPE, unescaped)].some((text) => {
      if (text.includes(this.#secret)) return true;
      const standard = text.replaceAll('-', '+').replaceAll('_', '/');
      return BASE64_PHASES.some((phase) => standard.includes(inBase64(this.#secret, phase)));
    });
  }
}

function unescaped(_whole: string, unit: string | undefined, character: string | undefined): string {
  return unit === undefined ? (character ?? '') : String.fromCharCode(Number.parseInt(unit, 16));
}

/** The characters of base64 that a text has wherever it begins so many bytes into a group. */
function inBase64(text: string, phase: number): string {
  const encoded = Buffer.from(`${'\0'.repeat(phase)}${text}`, 'latin1').toString('base64');
  const isCut = (phase + text.length) % 3 !== 0;
  const first = phase === 0 ? 0 : phase + 1;
  return encoded.replace(/=+$/, '').slice(first, isCut ? -1 : undefined);
}
