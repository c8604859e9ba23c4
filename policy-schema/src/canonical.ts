/**
 * A policy's canonical bytes and their digest: the launch measures them, and the VM and every
 * client read them.
 */

import { sha384 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { refuse } from './error.ts';
import { canonicalJson, MAX_BYTES, parseJson } from './json.ts';
import type { Policy, PolicyDigest } from './policy.ts';
import { accepted } from './read/reading.ts';

/**
 * Canonical bytes (RFC 8785) of a policy: every default written out, every set sorted.
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises';
 * import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * await writeFile('policy.json', canonicalPolicy(policy)); // the bytes that are hashed
 * ```
 */
export function canonicalPolicy(policy: Policy): Uint8Array {
  return canonicalJson(policy);
}

/**
 * SHA-384 of a policy's canonical bytes.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy, policyDigest } from '@enclaim/policy-schema';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * console.log(policyDigest(policy)); // sha384:…
 * ```
 */
export function policyDigest(policy: Policy): PolicyDigest {
  return digestOfCanonical(canonicalPolicy(policy));
}

/**
 * SHA-384 of bytes that the caller takes to be canonical. Whether they are, {@link decodePolicy}
 * decides.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { decodePolicy } from '@enclaim/policy-schema';
 * import { digestOfCanonical } from '@enclaim/policy-schema/admission';
 *
 * const bytes = await readFile('policy.json');
 * decodePolicy(bytes); // throws if these are not the canonical bytes of a policy
 * console.log(digestOfCanonical(bytes)); // sha384:…
 * ```
 */
export function digestOfCanonical(bytes: Uint8Array): PolicyDigest {
  return `sha384:${bytesToHex(sha384(bytes))}`;
}

/**
 * The policy of canonical bytes, by the same checks as the parser for people: one grammar decides
 * in both places.
 * @throws PolicyError `canonical` if the bytes are another encoding of a policy; else as
 *   `parsePolicy`
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { decodePolicy } from '@enclaim/policy-schema';
 *
 * const policy = decodePolicy(await readFile('policy.json'));
 * console.log(policy.system.name);
 * ```
 */
export function decodePolicy(canonical: Uint8Array): Policy {
  if (canonical.length > MAX_BYTES) throw refuse('size', `${canonical.length} bytes where ${MAX_BYTES} are allowed`);
  const policy = accepted(parseJson(canonical));
  const again = canonicalPolicy(policy);
  if (again.length !== canonical.length || again.some((byte, i) => byte !== canonical[i])) {
    throw refuse('canonical', 'a policy, but not in canonical form');
  }
  return policy;
}
