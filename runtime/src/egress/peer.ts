/**
 * The peer of an egress connection. Nothing is sent unless it speaks TLS 1.3 and is the
 * subprocessor that the policy names.
 */

import { createHash, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, rootCertificates, type SecureContext, type TLSSocket } from 'node:tls';
import type { Authenticated, References } from '@enclaim/attestation';
import { toBase64 } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { ALPN } from '@enclaim/attestation/handshake';
import { extendedKeyUsages, parseCertificate, parsePem, verifyChain } from '@enclaim/attestation/x509';
import type { Credential, PeerIdentity, Subprocessor } from '@enclaim/policy-schema/admission';
import { referencesOf } from '../admission/peer-references.ts';
import { RefusalError } from '../errors.ts';
import { demandEvidence } from './attested.ts';
import type { ShownCertificate } from './client-certificate.ts';
import { HeldHandshake } from './held-handshake.ts';

/** A subprocessor as it is reached. */
export interface Peer {
  /** Its name in the policy. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly identity: PeerIdentity;
  /** References for the evidence of an attested peer; undefined for any other peer. */
  readonly references: References | undefined;
  /** The header or certificate that it is shown; undefined for none. */
  readonly credential: Credential | undefined;
}

/** The protocol to agree on. */
export type EgressProtocol = 'h2' | 'http/1.1';

const HTTPS_PORT = 443;
/** Limit for TLS alone; the call's own deadline may end it sooner. */
const TLS_MS = 30_000;
const MAX_CERTIFICATES = 8;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/**
 * The peer that a policy describes.
 *
 * @throws RefusalError `policy` if its evidence could not be appraised
 */
export function peerOf(name: string, { address, identity, credential }: Subprocessor): Peer {
  const [host = '', digits] = address.slice('https://'.length).split(':');
  const references = identity.attested && referencesOf(identity.attested);
  const port = digits === undefined ? HTTPS_PORT : Number(digits);
  return { name, host, port, identity, references, credential };
}

/**
 * Opens TLS on a connection and authenticates the peer.
 *
 * **Trust**: the address says nothing about the peer, because the server that answered DNS chose
 * it.
 *
 * @param now milliseconds since 1970
 * @param certificate which it is shown once it is identified; by default none
 * @throws RefusalError `peer`; nothing but a TLS handshake was sent then, and no certificate
 */
export async function identify(
  socket: Socket,
  peer: Peer,
  protocol: EgressProtocol,
  now: number,
  certificate?: ShownCertificate,
): Promise<TLSSocket> {
  // A system under Enclaim serves only gRPC.
  if (peer.references !== undefined && protocol !== 'h2') throw stranger(peer, 'is called by gRPC only');
  const held = certificate && new HeldHandshake(socket);
  const tls = await handshake(held ?? socket, peer, protocol, certificate?.context);
  try {
    await refuseStranger(tls, peer, now);
    held?.release();
    return tls;
  } catch (cause) {
    tls.destroy();
    throw cause instanceof RefusalError ? cause : stranger(peer, (cause as Error).message, cause);
  }
}

/** A connection to an attested peer, and what the peer has shown on it. */
export interface AttestedPeer {
  readonly tls: TLSSocket;
  readonly shown: Authenticated;
}

/**
 * The same for a peer that is known by its evidence.
 *
 * @throws RefusalError `peer`; nothing but a TLS handshake and a nonce was sent then
 */
export async function identifyAttested(
  socket: Duplex,
  peer: Peer & { readonly references: References },
  now: number,
): Promise<AttestedPeer> {
  const tls = await handshake(socket, peer, 'h2', undefined);
  try {
    return { tls, shown: await demandEvidence(tls, peer.references, sha256(spkiOf(datedOf(tls, peer, now))), now) };
  } catch (cause) {
    tls.destroy();
    throw cause instanceof RefusalError ? cause : stranger(peer, (cause as Error).message, cause);
  }
}

function handshake(
  socket: Duplex,
  peer: Peer,
  wanted: EgressProtocol,
  own: SecureContext | undefined,
): Promise<TLSSocket> {
  // An attested peer is never offered plain HTTP/2: without evidence there is nothing to say to it.
  const protocol = peer.references === undefined ? wanted : ALPN;
  return new Promise((resolve, reject) => {
    const tls = connect({
      socket,
      servername: peer.host,
      secureContext: own ?? tls13(),
      ALPNProtocols: [protocol],
      // The verdict by the context's roots is in `authorized`, which counts only if the policy
      // trusts those roots.
      rejectUnauthorized: false,
    });
    const timer = setTimeout(() => tls.destroy(new Error('it took too long')), TLS_MS);
    const fail = (cause: Error): void => reject(new RefusalError('peer', `no TLS with ${peer.name}`, { cause }));
    tls.once('error', fail);
    tls.once('close', () => {
      clearTimeout(timer);
      fail(new Error('it closed'));
    });
    tls.once('secureConnect', () => {
      clearTimeout(timer);
      tls.off('error', fail);
      tls.on('error', () => tls.destroy());
      // HTTP/1.1 needs no ALPN; HTTP/2 must have been agreed on.
      if ((tls.alpnProtocol || 'http/1.1') === protocol) return resolve(tls);
      tls.destroy();
      fail(new Error(`it does not speak ${protocol}`));
    });
  });
}

let context: SecureContext | undefined;
/**
 * TLS context with TLS 1.3 and the roots inside the measured Node, made once because they take time
 * to read. It keeps no sessions.
 */
function tls13(): SecureContext {
  context ??= createSecureContext({
    /* layer: roots of the system */ ca: [...rootCertificates],
    /* layer: identity: TLS 1.3 */ minVersion: 'TLSv1.3',
  });
  return context;
}

let roots: ReadonlyMap<string, Uint8Array> | undefined;
/** The same roots by their digests. */
function knownRoots(): ReadonlyMap<string, Uint8Array> {
  roots ??= new Map(rootCertificates.flatMap((pem) => parsePem(pem, 'CERTIFICATE')).map((der) => [digestOf(der), der]));
  return roots;
}

/** Throws unless the peer is the one that the policy names. */
async function refuseStranger(tls: TLSSocket, peer: Peer, now: number): Promise<void> {
  const { references, identity } = peer;
  const { spki, ca } = identity;
  const certificate = datedOf(tls, peer, now);
  if (spki !== undefined) {
    // layer: identity: pinned key
    if (!spki.includes(pinOf(certificate))) throw stranger(peer, 'has another key');
  } else if (ca === 'system') {
    // layer: identity: known authority
    if (!tls.authorized) throw stranger(peer, 'is vouched for by no known authority');
  } else if (ca !== undefined) {
    // layer: identity: name
    if (certificate.checkHost(peer.host, { subject: 'never' }) === undefined) throw stranger(peer, 'has another name');
    // layer: identity: authority
    await verifyIssuedBy(ca, certificate, now);
  } else {
    if (references === undefined) throw stranger(peer, 'would have to be attested');
    await demandEvidence(tls, references, sha256(spkiOf(certificate)), now);
  }
}

/** The certificate that the peer has shown, within its dates. @throws RefusalError `peer` */
function datedOf(tls: TLSSocket, peer: Peer, now: number): X509Certificate {
  const certificate = tls.getPeerX509Certificate();
  if (certificate === undefined) throw stranger(peer, 'has no certificate');
  // Written so that an invalid date fails.
  // layer: identity: dates
  if (!(certificate.validFromDate.getTime() <= now && now <= certificate.validToDate.getTime()))
    throw stranger(peer, `has a certificate from ${certificate.validFrom} to ${certificate.validTo}`);
  return certificate;
}

/**
 * Verifies the chain that the peer sent, up to the certificate that the policy names. That one may
 * also be a root of Node.
 */
async function verifyIssuedBy(ca: `sha256:${string}`, certificate: X509Certificate, now: number): Promise<void> {
  const [leaf, ...sent] = chainOf(certificate).map(({ raw }) => parseCertificate(raw));
  if (leaf === undefined) throw new Error('has no certificate');
  const known = knownRoots().get(ca);
  await verifyChain(leaf, known === undefined ? sent : [...sent, parseCertificate(known)], [ca], { now });
  const usages = extendedKeyUsages(leaf);
  // layer: identity: purpose
  if (usages.length > 0 && !usages.includes(SERVER_AUTH)) throw new Error('has a certificate that is not for servers');
}

function chainOf(leaf: X509Certificate): X509Certificate[] {
  const chain = [leaf];
  for (
    let at = leaf.issuerCertificate;
    at !== undefined && chain.length < MAX_CERTIFICATES;
    at = at.issuerCertificate
  ) {
    if (at.fingerprint256 === chain.at(-1)?.fingerprint256) break; // a root names itself
    chain.push(at);
  }
  return chain;
}

function pinOf(certificate: X509Certificate): string {
  return `sha256/${toBase64(sha256(spkiOf(certificate)))}`;
}

function spkiOf({ publicKey }: X509Certificate): Uint8Array {
  return publicKey.export({ type: 'spki', format: 'der' });
}

function digestOf(der: Uint8Array): string {
  return digestText('sha256', sha256(der));
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}

/**
 * The refusal of a wrong peer.
 *
 * **Leak**: handlers are told no more of it than this, because everything else is data that the
 * peer chose.
 */
function stranger({ name }: Peer, what: string, cause?: unknown): RefusalError {
  return new RefusalError('peer', `${name} is not who the policy names`, {
    pointer: pointerOf(name, 'identity'),
    cause: cause ?? new Error(what),
  });
}

function pointerOf(name: string, what: string): string {
  return `/subprocessors/${name}/${what}`;
}
