/**
 * Messages between supervisor and runtime. The supervisor holds the hardware, the runtime asks for
 * its use.
 */

import { SEALING_REGISTERS } from '@enclaim/attestation/measure';
import * as z from 'zod';
import type { TimeAnchor } from './clock.ts';

/** Largest frame of the supervisor in bytes: the bundle travels in one, as base64. */
export const MAX_CONTROL_BYTES: number = 96 * 1024 * 1024;
/**
 * Largest frame of the runtime: a boot statement has at most 8 KiB, and a TPM's input at most 4.
 */
export const MAX_QUESTION_BYTES: number = 64 * 1024;
/** Descriptor of the runtime's end of the control socket. */
export const CONTROL_FD = 3;

/** Bytes as base64 text. */
const bytes = z.base64();
const id = z.uint32();
const count = z.uint32();

/** The hardware as the supervisor describes it, once. Bytes are base64. */
export type BootHardware =
  | {
      readonly kind: 'tpm';
      readonly akPublic: string;
      readonly ekPublic: string;
      readonly ekCertificate: string | null;
    }
  | { readonly kind: 'snp' }
  /** The event log in the form that evidence carries. */
  | { readonly kind: 'tdx'; readonly eventLog: string | null };

/** A signature of the hardware. Bytes are base64. */
export type QuoteAnswer =
  | {
      readonly kind: 'tpm';
      readonly attest: string;
      readonly signature: string;
      /** Registers 0 to 15 of the SHA-256 bank. */
      readonly pcrs: readonly string[];
    }
  | ReportAnswer<'snp'>
  | ReportAnswer<'tdx'>;

/** An answer of configfs-tsm: a report or quote, and the host's additional data. */
interface ReportAnswer<K> {
  readonly kind: K;
  readonly outblob: string;
  readonly auxblob: string;
}

/** The kernel's state as the supervisor set it. */
export interface KernelState {
  readonly settings: number;
  readonly rules: number;
}

/** First message of the supervisor: everything that was measured, and the boot's resources. */
export interface BootMessage {
  readonly kind: 'boot';
  /** The base image's name for itself. */
  readonly image: string;
  readonly bundle: {
    readonly policy: string;
    readonly descriptors: string;
    readonly handlers: string;
    readonly policyDigest: `sha384:${string}`;
    readonly digest: `sha384:${string}`;
  };
  readonly hardware: BootHardware;
  /** The measured command line, or the empty text if a TPM's image used its own. */
  readonly commandLine: string;
  /** Device of the log, and its size in bytes. */
  readonly log: { readonly path: string; readonly capacity: number };
  /** Unix socket on which workers connect. */
  readonly workers: {
    readonly path: string;
    readonly size: number;
    /** Path of a worker's cgroup without the worker's id, with which the full path ends. */
    readonly cgroups: string;
    readonly capacity: { readonly memory: number; readonly processors: number };
  };
  readonly port: number;
  /** When this boot began. The supervisor reads it before it trusts anything else of the host. */
  readonly time: TimeAnchor;
  /**
   * Name servers by address, for the way to subprocessors.
   *
   * **Trust**: the host's choice.
   */
  readonly nameServers: readonly string[];
  /** Numbers of kernel settings and of firewall rules that were read back and hold. */
  readonly kernel: KernelState;
  /** The keeper of the state's keys over boots; null where this platform has nothing that does. */
  readonly keeper: 'tpm' | null;
}

/** A message of the supervisor. */
export type ToRuntime =
  | BootMessage
  | { readonly kind: 'stated'; readonly id: number }
  | { readonly kind: 'quoted'; readonly id: number; readonly quote: QuoteAnswer }
  /** Take no more calls, end those under way, and say so. */
  | { readonly kind: 'drain' }
  | { readonly kind: 'activated'; readonly id: number; readonly secret: string }
  /** The present epoch, asked for or begun. */
  | { readonly kind: 'epoch'; readonly id: number; readonly epoch: number }
  | { readonly kind: 'sealed'; readonly id: number; readonly blob: string }
  | { readonly kind: 'opened'; readonly id: number; readonly key: string }
  /** The predecessor's epochs have ended. */
  | { readonly kind: 'retired'; readonly id: number }
  /** The predecessor is that of this boot. */
  | { readonly kind: 'resumed'; readonly id: number }
  /** This boot will say that its state is recovered. */
  | { readonly kind: 'recovered'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: string };

/** A message of the runtime. */
export type FromRuntime =
  /** The boot statement, once; quotes cover its digest. */
  | { readonly kind: 'state'; readonly id: number; readonly statement: string }
  /** Quote this root, 32 bytes, with the digest of the boot statement. */
  | { readonly kind: 'quote'; readonly id: number; readonly root: string }
  | {
      readonly kind: 'activate';
      readonly id: number;
      readonly credentialBlob: string;
      readonly encryptedSecret: string;
    }
  /** Which epoch of the state is the present one? */
  | { readonly kind: 'epoch'; readonly id: number }
  /** Seal a key to the epoch after the present one. */
  | { readonly kind: 'seal'; readonly id: number; readonly key: string; readonly epoch: number }
  /** Open a key that was sealed to the present epoch. */
  | { readonly kind: 'open'; readonly id: number; readonly blob: string }
  /** Begin the next epoch. */
  | { readonly kind: 'advance'; readonly id: number }
  /** Seal the key of the present epoch to the registers of an heir. */
  | { readonly kind: 'bequeath'; readonly id: number; readonly key: string; readonly passage: StatedPassage }
  /** Open a key that a predecessor sealed to our registers. */
  | { readonly kind: 'inherit'; readonly id: number; readonly blob: string; readonly passage: StatedPassage }
  /** Which epoch of an heir is its present one? */
  | { readonly kind: 'heir'; readonly id: number; readonly passage: StatedPassage }
  /** The state came from a predecessor in an earlier boot. */
  | { readonly kind: 'resume'; readonly id: number; readonly passage: StatedPassage }
  /** The state is an older copy, which signers of the policy have stated by this recovery. */
  | { readonly kind: 'recover'; readonly id: number; readonly recovery: `sha256:${string}` }
  /** End the epochs of the predecessor, if it is at this one. */
  | { readonly kind: 'retire'; readonly id: number; readonly passage: StatedPassage; readonly epoch: number }
  /** Start a worker. It connects to the workers' socket and sends this id first. */
  | { readonly kind: 'start'; readonly id: number }
  /** End a worker. */
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'serving'; readonly exposed: number; readonly plain: number; readonly withheld: number }
  /** All calls have ended, and the log is flushed. */
  | { readonly kind: 'drained' }
  | { readonly kind: 'refused'; readonly reason: string };

/** The way of a state from one launch to another: policy, and base64 of the registers of both. */
export interface StatedPassage {
  readonly policy: `sha384:${string}`;
  readonly from: readonly string[];
  readonly to: readonly string[];
}

const registers = z.array(z.base64().length(44)).length(SEALING_REGISTERS.length);
const passage: z.ZodType<StatedPassage> = z.strictObject({
  policy: z.templateLiteral(['sha384:', z.string().regex(/^[0-9a-f]{96}$/)]),
  from: registers,
  to: registers,
});

const fromRuntimeSchema: z.ZodType<FromRuntime> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('state'), id, statement: bytes }),
  z.strictObject({ kind: z.literal('quote'), id, root: bytes }),
  z.strictObject({ kind: z.literal('activate'), id, credentialBlob: bytes, encryptedSecret: bytes }),
  z.strictObject({ kind: z.literal('epoch'), id }),
  z.strictObject({ kind: z.literal('seal'), id, key: bytes, epoch: z.int().positive() }),
  z.strictObject({ kind: z.literal('open'), id, blob: bytes }),
  z.strictObject({ kind: z.literal('advance'), id }),
  z.strictObject({ kind: z.literal('bequeath'), id, key: bytes, passage }),
  z.strictObject({ kind: z.literal('inherit'), id, blob: bytes, passage }),
  z.strictObject({ kind: z.literal('heir'), id, passage }),
  z.strictObject({ kind: z.literal('resume'), id, passage }),
  z.strictObject({
    kind: z.literal('recover'),
    id,
    recovery: z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]),
  }),
  z.strictObject({ kind: z.literal('retire'), id, passage, epoch: z.int().positive() }),
  z.strictObject({ kind: z.literal('start'), id }),
  z.strictObject({ kind: z.literal('end'), id }),
  z.strictObject({ kind: z.literal('serving'), exposed: count, plain: count, withheld: count }),
  z.strictObject({ kind: z.literal('drained') }),
  z.strictObject({ kind: z.literal('refused'), reason: z.string().max(4096) }),
]);

/**
 * A message of the runtime, which the supervisor trusts less than itself.
 *
 * @throws if it is not one
 */
export function parseFromRuntime(json: string): FromRuntime {
  return fromRuntimeSchema.parse(JSON.parse(json));
}
