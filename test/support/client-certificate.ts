/** Client certificates as an owner brings them: PEM of a key and its chain, under an authority of the test. */

import { EPOCH, FakeIdentity, type FakeScheme, pemOf } from '../fakes/certificates.ts';
import { name, oid, sequence } from '../fakes/der.ts';

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** What may be other. */
export interface ClientOptions {
  readonly scheme?: FakeScheme;
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Extended key usages; by default that of clients. */
  readonly usages?: readonly string[];
}

/** A client: its certificate, its key as PEM, and both as they are brought. */
export interface FakeClient {
  readonly certificate: Uint8Array;
  readonly key: string;
  readonly pem: string;
}

export function fakeClient(authority: FakeIdentity, options: ClientOptions = {}): FakeClient {
  const self = new FakeIdentity('clinic', options.scheme ?? 'ecdsa-sha256');
  const certificate = authority.certify({
    subject: name('clinic'),
    spki: self.spki,
    notBefore: options.notBefore ?? EPOCH,
    ...(options.notAfter !== undefined && { notAfter: options.notAfter }),
    extensions: [{ oid: '2.5.29.37', value: sequence(...(options.usages ?? [CLIENT_AUTH]).map(oid)) }],
  });
  const key = String(self.privateKey.export({ format: 'pem', type: 'pkcs8' }));
  return { certificate, key, pem: key + pemOf(certificate, authority.root()) };
}
