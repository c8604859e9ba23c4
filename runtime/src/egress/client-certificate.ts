/** The client certificate that a subprocessor is shown in the TLS handshake, and in no other. */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { DecodeError } from '@enclaim/attestation/errors';
import { certificateFault, parseClientCertificate } from '@enclaim/attestation/secrets';
import { extendedKeyUsages, parseCertificate } from '@enclaim/attestation/x509';
import { RefusalError } from '../errors.ts';
import type { Vault } from './vault.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** A certificate that can be shown now. */
export interface ShownCertificate {
  readonly name: string;
  /** TLS 1.3, with the certificate and its key. */
  readonly context: SecureContext;
}

/** Contexts by the vault's own bytes, which are not those of the value before. */
const contexts = new WeakMap<Uint8Array, { readonly context: SecureContext; readonly leaf: X509Certificate }>();

/**
 * The certificate of a name.
 *
 * @param pointer of the policy
 * @param now milliseconds since 1970
 * @throws RefusalError `secret`, which ends the call, if it is not there or not valid now
 */
export function shownCertificate(
  name: string,
  vault: Pick<Vault, 'get'>,
  pointer: string,
  now: number,
): ShownCertificate {
  const refusal = (what: string): RefusalError =>
    new RefusalError('secret', `the certificate ${name} ${what}`, { pointer, final: true });
  const value = vault.get(name);
  if (value === undefined) throw refusal('is not there');
  let made = contexts.get(value);
  if (made === undefined) {
    // A policy of before may have named a header's secret so.
    if (clientCertificateFault(value) !== undefined) throw refusal('cannot be used');
    made = contextOf(value);
    contexts.set(value, made);
  }
  const { leaf, context } = made;
  // Written so that an invalid date fails.
  if (!(leaf.validFromDate.getTime() <= now && now <= leaf.validToDate.getTime())) throw refusal('is not valid now');
  return { name, context };
}

/** Why a value cannot be shown; undefined if it can. Repeats nothing of it. */
export function clientCertificateFault(value: Uint8Array): string | undefined {
  const fault = certificateFault(value);
  if (fault !== undefined) return fault;
  const { key, chain } = parseClientCertificate(value);
  try {
    const [leaf = new Uint8Array()] = chain;
    const usages = extendedKeyUsages(parseCertificate(leaf));
    if (usages.length > 0 && !usages.includes(CLIENT_AUTH)) return 'the certificate is not for clients';
    const own = createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' });
    if (!new X509Certificate(leaf).checkPrivateKey(own)) return 'the key is not that of the first certificate';
    contextOf(value);
    return undefined;
  } catch (error) {
    // What OpenSSL says of a key is not for the answer.
    return error instanceof DecodeError ? error.message : 'the key or the chain cannot be used';
  } finally {
    key.fill(0);
  }
}

function contextOf(value: Uint8Array): { readonly context: SecureContext; readonly leaf: X509Certificate } {
  const { key, chain } = parseClientCertificate(value);
  const own = createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' });
  key.fill(0);
  const pem = own.export({ format: 'pem', type: 'pkcs8' });
  const cert = chain.map((der) => new X509Certificate(der).toString()).join('');
  const context = createSecureContext({ ca: [...rootCertificates], minVersion: 'TLSv1.3', cert, key: pem });
  return { context, leaf: new X509Certificate(chain[0] ?? new Uint8Array()) };
}
