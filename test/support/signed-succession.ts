/** A succession to other addresses under a policy of one signer, signed. */

import { generateKeyPairSync, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DigestText, digestText, sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  encodeSuccession,
  proposeSuccession,
  type SuccessionLaunch,
  signSuccession,
} from '@enclaim/attestation/succession';
import { canonicalPolicy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { PRETEND_IMAGE } from './attested-runtime.ts';

/** A policy, and successions under it. */
export interface SignedSuccessions {
  readonly policy: DigestText<'sha384'>;
  /** Name of the state that they pass. */
  readonly state: DigestText<'sha256'>;
  /** A launch with an address, or with none. */
  launch(address?: number): SuccessionLaunch & { readonly commandLine: string };
  /** Canonical bytes of the succession to a launch with an address, signed or not. */
  to(address: number, isSigned?: boolean): Uint8Array;
}

/** Successions under a policy of the app for stored notes. */
export async function signedSuccessions(): Promise<SignedSuccessions> {
  const base = await readFile(join(import.meta.dirname, '../sealed-app/policy.yaml'), 'utf8');
  const key = generateKeyPairSync('ed25519').privateKey;
  const signer = ed25519Key(Buffer.from(String(key.export({ format: 'jwk' }).x), 'base64url'));
  const read = parsePolicy(`${base}succession: { signers: ["${signer}"], threshold: 1, notice: P7D }\n`);
  const [policy, bytes] = [policyDigest(read), canonicalPolicy(read)];
  const state = digestText('sha256', sha256(bytes));
  const launch = (address?: number) => {
    const words = address === undefined ? '' : ` enclaim.ip=10.0.0.${address}/24`;
    const commandLine = launchCommandLine({ commandLine: `${PRETEND_IMAGE.commandLine}${words}` }, policy);
    return { policy, image: PRETEND_IMAGE, boot: 'kernel', commandLine } as const;
  };
  const to = (address: number, isSigned = true): Uint8Array => {
    const launches = { from: launch(), to: launch(address) };
    const times = { state, notBefore: new Date(0).toISOString() };
    const file = proposeSuccession(launches, { from: bytes, to: bytes }, times);
    return encodeSuccession(isSigned ? signSuccession(file, signer, (message) => sign(null, message, key)) : file);
  };
  return { policy, state, launch, to };
}
