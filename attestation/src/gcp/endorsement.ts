/**
 * Google's launch endorsements of GCE firmware (google/gce-tcb-verifier, proto/endorsement.proto).
 */

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { verifySignature } from '#crypto';
import { fromUtf8 } from '../bytes.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { checkDemand, checkOneOf } from '../verdict/check-demand.ts';
import type { Check } from '../verdict/verdict.ts';
import { parseCertificateOnce } from '../x509/certificate.ts';
import { type Pin, type VerifiedChain, verifyChain } from '../x509/chain.ts';
import { parsePem } from '../x509/pem.ts';

/**
 * A firmware build and the measurements that it leads to.
 *
 * **Trust**: none, until `verifyGceEndorsement` has returned it.
 */
export interface GceGolden {
  /** Seconds and nanoseconds since 1970. */
  readonly timestamp: { readonly seconds: bigint; readonly nanos: number };
  readonly clSpec: bigint;
  readonly commit: Uint8Array;
  /** Certificate of the signer, DER. */
  readonly certificate: Uint8Array;
  /** SHA-384 of the firmware image. */
  readonly digest: Uint8Array;
  readonly caBundle: readonly Uint8Array[];
  readonly snp: GceSnp | undefined;
  readonly tdx: GceTdx | undefined;
}

/** Launch digests by number of processors. */
export interface GceSnp {
  readonly svn: number;
  readonly measurements: ReadonlyMap<number, Uint8Array>;
  readonly policy: bigint;
}

/** MRTDs by memory size in GiB; zero if the size does not matter. */
export interface GceTdx {
  readonly svn: number;
  readonly measurements: readonly {
    readonly ramGib: number;
    readonly earlyAccept: boolean;
    readonly mrTd: Uint8Array;
  }[];
}

interface Endorsement {
  readonly golden: Uint8Array;
  readonly signature: Uint8Array;
}

const MAX_ENDORSEMENT = 1 << 20;
const MAX_MEASUREMENTS = 1024;
const DIGEST_LENGTH = 48;

/**
 * Readers of a message's fields, by number. Fields that are not listed are skipped, because Google
 * adds some.
 */
interface Fields {
  readonly bytes?: Readonly<Record<number, (value: Uint8Array) => void>>;
  readonly integers?: Readonly<Record<number, (value: bigint) => void>>;
}

/** Reads a message. @throws DecodeError `syntax` */
function readMessage(message: Uint8Array, { bytes = {}, integers = {} }: Fields): void {
  try {
    const reader = new BinaryReader(message);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (number in bytes && wireType === WireType.LengthDelimited) bytes[number]?.(new Uint8Array(reader.bytes()));
      else if (number in integers && wireType === WireType.Varint) integers[number]?.(BigInt(reader.uint64()));
      else if (number in bytes || number in integers)
        throw new DecodeError('syntax', `field ${number} of another type`, 0);
      else reader.skip(wireType, number);
    }
  } catch (cause) {
    if (cause instanceof DecodeError) throw cause;
    throw new DecodeError('syntax', 'not a protobuf message', 0, { cause });
  }
}

function parseEndorsement(message: Uint8Array): Endorsement {
  if (message.length > MAX_ENDORSEMENT) throw new DecodeError('range', `endorsement of ${message.length} bytes`, 0);
  let golden: Uint8Array = new Uint8Array();
  let signature: Uint8Array = new Uint8Array();
  readMessage(message, {
    bytes: {
      1: (value) => {
        golden = value;
      },
      2: (value) => {
        signature = value;
      },
    },
  });
  return { golden, signature };
}

/** Reads the signed part. @throws DecodeError */
function parseGolden(message: Uint8Array): GceGolden {
  const golden: { -readonly [K in keyof GceGolden]: GceGolden[K] } = {
    timestamp: { seconds: 0n, nanos: 0 },
    clSpec: 0n,
    commit: new Uint8Array(),
    certificate: new Uint8Array(),
    digest: new Uint8Array(),
    caBundle: [],
    snp: undefined,
    tdx: undefined,
  };
  readMessage(message, {
    integers: {
      2: (value) => {
        golden.clSpec = value;
      },
    },
    bytes: {
      1: (value) => {
        golden.timestamp = readTimestamp(value);
      },
      3: (value) => {
        golden.commit = value;
      },
      4: (value) => {
        golden.certificate = value;
      },
      5: (value) => {
        golden.digest = value;
      },
      6: (value) => {
        golden.caBundle = parsePem(fromUtf8(value), 'CERTIFICATE');
      },
      7: (value) => {
        golden.snp = readSnp(value);
      },
      8: (value) => {
        golden.tdx = readTdx(value);
      },
    },
  });
  requireDigest(golden.digest);
  return golden;
}

function readTimestamp(message: Uint8Array): GceGolden['timestamp'] {
  const fields = readNumbers(message, [1, 2]);
  return { seconds: fields.get(1) ?? 0n, nanos: Number(fields.get(2) ?? 0n) };
}

/** The integers of a message; zero if they are absent. */
function readNumbers(
  message: Uint8Array,
  numbers: readonly number[],
  bytes: Fields['bytes'] = {},
): Map<number, bigint> {
  const found = new Map<number, bigint>();
  const integers = numbers.map((number) => [number, (value: bigint): unknown => found.set(number, value)] as const);
  readMessage(message, { integers: Object.fromEntries(integers), bytes });
  return found;
}

function readSnp(message: Uint8Array): GceSnp {
  const measurements = new Map<number, Uint8Array>();
  const fields = readNumbers(message, [1, 5], {
    2: (value) => {
      const [vmsas, digest] = readEntry(value);
      if (measurements.has(vmsas) || measurements.size === MAX_MEASUREMENTS) {
        throw new DecodeError('syntax', `measurement for ${vmsas} processors once too often`, 0);
      }
      measurements.set(vmsas, requireDigest(digest));
    },
  });
  return { svn: Number(fields.get(1) ?? 0n), measurements, policy: fields.get(5) ?? 0n };
}

function readEntry(message: Uint8Array): [number, Uint8Array] {
  let digest: Uint8Array = new Uint8Array();
  const fields = readNumbers(message, [1], {
    2: (value) => {
      digest = value;
    },
  });
  return [Number(fields.get(1) ?? 0n), digest];
}

function readTdx(message: Uint8Array): GceTdx {
  const measurements: GceTdx['measurements'][number][] = [];
  const fields = readNumbers(message, [1], {
    2: (value) => {
      if (measurements.length === MAX_MEASUREMENTS) throw new DecodeError('range', 'too many measurements', 0);
      measurements.push(readTdxMeasurement(value));
    },
  });
  return { svn: Number(fields.get(1) ?? 0n), measurements };
}

function readTdxMeasurement(message: Uint8Array): GceTdx['measurements'][number] {
  let mrTd: Uint8Array = new Uint8Array();
  const fields = readNumbers(message, [1, 2], {
    3: (value) => {
      mrTd = value;
    },
  });
  requireDigest(mrTd);
  return { ramGib: Number(fields.get(1) ?? 0n), earlyAccept: (fields.get(2) ?? 0n) !== 0n, mrTd };
}

function requireDigest(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== DIGEST_LENGTH) throw new DecodeError('range', `digest of ${bytes.length} bytes`, 0);
  return bytes;
}

declare const authenticated: unique symbol;

/** An endorsement that Google signed: made by `verifyGceEndorsement` alone. */
export interface AuthenticatedGceEndorsement {
  readonly [authenticated]: true;
  readonly golden: GceGolden;
  readonly chain: VerifiedChain;
}

const SCHEME = { kind: 'rsa-pss', hash: 'sha256', saltLength: 32 } as const;

/**
 * Verifies who signed an endorsement.
 * @param certificates Further certificates between signer and root, DER; those in the endorsement
 * are used as well.
 * @param options.now Milliseconds since 1970.
 * @throws EvidenceError `format`, `chain`, `validity`, `signature`
 */
export async function verifyGceEndorsement(
  bytes: Uint8Array,
  certificates: readonly Uint8Array[],
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedGceEndorsement> {
  const { golden: signed, signature } = parsePart('format', 'endorsement', bytes, parseEndorsement);
  const golden = parsePart('format', 'endorsed measurements', signed, parseGolden);
  const leaf = parsePart('chain', 'endorsement certificate', golden.certificate, parseCertificateOnce);
  const others = [...certificates, ...golden.caBundle].map((der) =>
    parsePart('chain', 'endorsement CA', der, parseCertificateOnce),
  );
  const chain = await verifyChain(leaf, others, pins, options);
  if (!(await verifySignature(SCHEME, chain.key, signed, signature))) {
    throw new EvidenceError('signature', 'endorsement signature does not verify');
  }
  return { golden, chain } as AuthenticatedGceEndorsement;
}

/** The firmware and measurements of a VM, to be compared with an endorsement. */
export interface EndorsedLaunch {
  /** SHA-384 of the firmware image, if the verifier expects a certain one. */
  readonly firmware: Uint8Array | 'any';
  /** SNP launch digest, and for how many processors it must be endorsed. */
  readonly snp: { readonly measurement: Uint8Array; readonly vcpus: number | 'any' } | 'any';
  readonly mrTd: Uint8Array | 'any';
}

/** Whether Google endorsed the firmware that a VM was launched with. */
export function appraiseGceEndorsement({ golden }: AuthenticatedGceEndorsement, launch: EndorsedLaunch): Check[] {
  const snp = golden.snp?.measurements ?? new Map<number, Uint8Array>();
  const endorsed = (vcpus: number | 'any'): Uint8Array[] =>
    [...snp].flatMap(([count, digest]) => (vcpus === 'any' || vcpus === count ? [digest] : []));
  const mrTds = golden.tdx?.measurements.map(({ mrTd }) => mrTd) ?? [];
  return [
    checkOneOf('gce.firmware', golden.digest, launch.firmware === 'any' ? 'any' : [launch.firmware]),
    launch.snp === 'any'
      ? checkDemand('gce.snp', 'any', `${snp.size} SNP measurements`, () => false)
      : checkOneOf('gce.snp', launch.snp.measurement, endorsed(launch.snp.vcpus)),
    launch.mrTd === 'any'
      ? checkDemand('gce.mrtd', 'any', `${mrTds.length} MRTDs`, () => false)
      : checkOneOf('gce.mrtd', launch.mrTd, mrTds),
  ];
}
