/**
 * Boot statement: the facts that one boot states of itself, which hardware signs
 * (docs/reference/formats.md, "Boot statement").
 */

import * as z from 'zod';
import { fromBase64Url, toBase64Url } from './bytes.ts';
import { decodeCanonical, encodeCanonical } from './canonical.ts';
import { type DigestText, labelled, type Sha256 } from './digest.ts';
import { sha256Text, sha384Text } from './digest-schema.ts';

/** Names of the platforms that evidence can come from. */
export const PLATFORMS = ['tpm', 'snp', 'tdx', 'azure-snp', 'azure-tdx', 'gcp', 'nitro', 'simulated'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** Layers that only a VM puts around a worker (docs/security/confinement.md, "Layers"). */
export const VM_LAYERS = ['user', 'namespaces', 'root', 'cgroup'] as const;
export type VmLayer = (typeof VM_LAYERS)[number];

/** Where the state of sealed collections comes from, as the boot began with it. */
export interface StatedStorage {
  /**
   * Keeper of the state's keys over boots: the machine's TPM, another attested machine, or a
   * program that pretends to be a TPM.
   */
  readonly keeper: 'tpm' | 'peer' | 'simulated';
  /**
   * The epoch that this boot began, which no other boot has under this keeper. From 1; 0 while the
   * boot asks its keeper.
   */
  readonly epoch: number;
  /**
   * Whether this boot began with none, found state of an epoch before, took over that of another
   * launch, or goes on with an older copy of the disk, as signers of its policy have stated; or
   * asks a peer for its state still, and serves nothing.
   */
  readonly began: 'new' | 'kept' | 'inherited' | 'recovered' | 'asking';
  /** The peer that keeps the key, by its policy and the digest of its boot statement. */
  readonly peer?: { readonly policy: DigestText<'sha384'>; readonly boot: DigestText<'sha256'> };
  /** Present where the state is inherited: the launch that it was sealed under before. */
  readonly predecessor?: {
    readonly policy: DigestText<'sha384'>;
    /** SHA-256 of the registers that its state was sealed to, one after the other. */
    readonly registers: DigestText<'sha256'>;
  };
  /** Present where the state is recovered: the recovery's digest. */
  readonly recovery?: DigestText<'sha256'>;
}

/** Fields of boot statements of every version. */
interface StatementFields {
  readonly platform: Platform;
  /** 16 random bytes of this boot, hex. */
  readonly bootId: string;
  readonly policy: DigestText<'sha384'>;
  readonly bundle: DigestText<'sha384'>;
  /**
   * The base image's own name for itself.
   *
   * **Trust**: only the measurement shows which image it is.
   */
  readonly image: string;
  /**
   * Identity of the device: SHA-256 of TPMT_PUBLIC of attestation and endorsement key, and of the
   * latter's certificate.
   */
  readonly device: {
    readonly ak: DigestText<'sha256'> | null;
    readonly ek: DigestText<'sha256'> | null;
    readonly ekCertificate: DigestText<'sha256'> | null;
  };
  /** SHA-256 of the event log that evidence carries; absent if it carries none. */
  readonly events?: DigestText<'sha256'>;
  /**
   * Layers of confinement that the workers of this boot start without; empty if all of them confine
   * the handlers.
   */
  readonly unconfined: readonly VmLayer[];
  /** The policy's owner key, or null if it names none. */
  readonly owner: Ed25519Text | null;
  /** Start of the runtime (RFC 3339, UTC, milliseconds), and the source of that time. */
  readonly started: { readonly at: string; readonly strength: 'host' | 'signed' };
}

/** SHA-256 of the TLS key's SubjectPublicKeyInfo, and the raw key that signs receipts. */
interface StatedKeys {
  readonly tls: DigestText<'sha256'>;
  readonly receipt: Ed25519Text;
}

/** A statement of version 2. Its log is a chain, which no checkpoint covers. */
export interface ChainedBootStatement extends StatementFields {
  readonly version: 2;
  readonly keys: StatedKeys;
  /**
   * State of the log when this boot began: origin, number of records, hash of the last one, and
   * bytes left for records of calls.
   */
  readonly log: {
    readonly origin: string;
    readonly size: number;
    readonly head: DigestText<'sha256'>;
    readonly left?: number;
  };
}

/** A statement of version 3. Its log is a tree, whose checkpoints the log key signs. */
export interface CurrentBootStatement extends StatementFields {
  readonly version: 3;
  /** `log` is the raw key that signs this boot's checkpoints. */
  readonly keys: StatedKeys & { readonly log: Ed25519Text };
  readonly log: {
    /** The log's name in checkpoints: the system's name and the boot's id. */
    readonly origin: string;
    /**
     * Number of records and root of the tree as this boot found them on its disk.
     *
     * **Trust**: the disk is the host's. A record counts under this boot's quotes only from index
     * `size` on; one below it counts under those of the boot that wrote it.
     */
    readonly size: number;
    readonly root: DigestText<'sha256'>;
    /** Index of the oldest record that was still held. */
    readonly minimum: number;
    /** Bytes that were left for records of calls. */
    readonly left: number;
  };
  /** Present where the policy has sealed collections. */
  readonly storage?: StatedStorage;
}

/** A boot statement. Digests and keys as text, so that people can read it. */
export type BootStatement = ChainedBootStatement | CurrentBootStatement;

/** A raw Ed25519 public key as text: base64url of its 32 bytes. */
export type Ed25519Text = `ed25519:${string}`;

/** The shape of an {@link Ed25519Text}. */
export const ed25519Text: z.ZodType<Ed25519Text> = z.templateLiteral([
  'ed25519:',
  z.string().regex(/^[A-Za-z0-9_-]{43}$/),
]);

const fields = {
  platform: z.enum(PLATFORMS),
  bootId: z.string().regex(/^[0-9a-f]{32}$/),
  policy: sha384Text,
  bundle: sha384Text,
  image: z.string().regex(/^[a-z0-9][a-z0-9.+-]{0,63}$/),
  device: z.strictObject({
    ak: sha256Text.nullable(),
    ek: sha256Text.nullable(),
    ekCertificate: sha256Text.nullable(),
  }),
  events: sha256Text.exactOptional(),
  unconfined: z
    .array(z.enum(VM_LAYERS))
    .max(VM_LAYERS.length)
    .refine((layers) => new Set(layers).size === layers.length),
  owner: ed25519Text.nullable(),
  started: z.strictObject({ at: z.iso.datetime({ precision: 3 }), strength: z.enum(['host', 'signed']) }),
};
const keys = { tls: sha256Text, receipt: ed25519Text };
const count = z.int().nonnegative();
const origin = z.string().regex(/^[a-z0-9./-]{1,128}$/);

const statementSchema: z.ZodType<BootStatement> = z.discriminatedUnion('version', [
  z.strictObject({
    version: z.literal(2),
    ...fields,
    keys: z.strictObject(keys),
    log: z.strictObject({ origin, size: count, head: sha256Text, left: count.exactOptional() }),
  }),
  z.strictObject({
    version: z.literal(3),
    ...fields,
    keys: z.strictObject({ ...keys, log: ed25519Text }),
    log: z
      .strictObject({ origin, size: count, root: sha256Text, minimum: count, left: count })
      .refine(({ minimum, size }) => minimum <= size, 'a minimum above the size'),
    storage: z
      .strictObject({
        keeper: z.enum(['tpm', 'peer', 'simulated']),
        epoch: count,
        began: z.enum(['new', 'kept', 'inherited', 'recovered', 'asking']),
        peer: z.strictObject({ policy: sha384Text, boot: sha256Text }).exactOptional(),
        predecessor: z.strictObject({ policy: sha384Text, registers: sha256Text }).exactOptional(),
        recovery: sha256Text.exactOptional(),
      })
      .refine(({ began, recovery }) => (began === 'recovered') === (recovery !== undefined), 'no recovery')
      .refine(({ began, predecessor }) => (began === 'inherited') === (predecessor !== undefined), 'no predecessor')
      .refine(({ began, epoch }) => (began === 'asking') === (epoch === 0), 'no epoch')
      .refine(
        ({ keeper, began, peer }) =>
          (peer !== undefined) === (keeper === 'peer' && began !== 'asking') &&
          (keeper === 'peer' || began !== 'asking') &&
          (keeper !== 'peer' || began !== 'inherited'),
        'no peer',
      )
      .exactOptional(),
  }),
]);

const LIMIT = 8 * 1024;

/** Canonical bytes of a statement. */
export function encodeStatement(statement: BootStatement): Uint8Array {
  return encodeCanonical(statementSchema.parse(statement));
}

/**
 * The statement of canonical bytes.
 *
 * **Trust**: authentic only once its digest was found signed.
 * @throws DecodeError
 */
export function decodeStatement(bytes: Uint8Array): BootStatement {
  return decodeCanonical(statementSchema, bytes, LIMIT);
}

/**
 * `SHA-256("enclaim/boot/v1" ‖ NUL ‖ bytes)`: the second half of the bytes that every quote covers.
 */
export function bootDigest(statementBytes: Uint8Array): Sha256 {
  return labelled('boot', statementBytes);
}

/** Text of a raw Ed25519 public key of 32 bytes. */
export function ed25519Key(raw: Uint8Array): Ed25519Text {
  return `ed25519:${toBase64Url(raw)}`;
}

/** SubjectPublicKeyInfo (DER, RFC 8410) of an Ed25519 key text. @throws DecodeError */
export function ed25519Spki(text: string): Uint8Array {
  const raw = fromBase64Url(text.slice('ed25519:'.length));
  return Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, ...raw);
}
