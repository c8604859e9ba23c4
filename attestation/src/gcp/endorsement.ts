/** Google's launch endorsements of GCE firmware (google/gce-tcb-verifier, proto/endorsement.proto). */

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { verifySignature } from '#crypto';
import { fromUtf8 } from '../bytes.ts';
import { checkDemand, checkOneOf } from '../demand.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { parsePart } from '../part.ts';
import type { Check } from '../verdict.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { type Pin, type VerifiedChain, verifyChain } from '../x509/chain.ts';
import { parsePem } from '../x509/pem.ts';

/** A firmware build and the measurements that it leads to. **Trust**: none, until `verifyGceEndorsement` has returned it. */
export interface GceGolden {
  /** Seconds and nanoseconds since 1970. */
  readonly timestamp: { readonly seconds: bigint; readonly nanos: number };
  readonly clSpec: bigint;
  readonly commit: Uint8Array;
  /** Certificate of who signed, DER. */
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

/** MRTDs by memory size in GiB; zero where the size does not matter. */
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

/** A field's reader, by number; it sets what it reads. Fields that are not listed are skipped: Google adds some. */
type Fields = Readonly<Record<number, (reader: BinaryReader) => void>>;

/** Reads a message. @throws DecodeError `syntax` */
function readMessage(bytes: Uint8Array, fields: Fields): void {
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      const read = fields[number];
      if (read === undefined || !FITS[wireType]) reader.skip(wireType, number);
      else read(reader);
    }
  } catch (cause) {
    if (cause instanceof DecodeError) throw cause;
    throw new DecodeError('syntax', 'not a protobuf message', 0, { cause });
  }
}

/** Every field that is read here is a varint or a length-delimited one. */
const FITS: Readonly<Partial<Record<WireType, true>>> = { [WireType.Varint]: true, [WireType.LengthDelimited]: true };

function parseEndorsement(bytes: Uint8Array): Endorsement {
  if (bytes.length > MAX_ENDORSEMENT) throw new DecodeError('range', `endorsement of ${bytes.length} bytes`, 0);
  const parts = { golden: new Uint8Array(), signature: new Uint8Array() };
  readMessage(bytes, {
    1: (reader) => {
      parts.golden = new Uint8Array(reader.bytes());
    },
    2: (reader) => {
      parts.signature = new Uint8Array(reader.bytes());
    },
  });
  return parts;
}

/** Reads the signed part. @throws DecodeError */
function parseGolden(bytes: Uint8Array): GceGolden {
  const golden = {
    timestamp: { seconds: 0n, nanos: 0 },
    clSpec: 0n,
    commit: new Uint8Array(),
    certificate: new Uint8Array(),
    digest: new Uint8Array(),
    caBundle: [] as Uint8Array[],
    snp: undefined as GceSnp | undefined,
    tdx: undefined as GceTdx | undefined,
  };
  readMessage(bytes, {
    1: (reader) => {
      golden.timestamp = readTimestamp(reader.bytes());
    },
    2: (reader) => {
      golden.clSpec = BigInt(reader.uint64());
    },
    3: (reader) => {
      golden.commit = new Uint8Array(reader.bytes());
    },
    4: (reader) => {
      golden.certificate = new Uint8Array(reader.bytes());
    },
    5: (reader) => {
      golden.digest = new Uint8Array(reader.bytes());
    },
    6: (reader) => {
      golden.caBundle = parsePem(fromUtf8(reader.bytes()), 'CERTIFICATE');
    },
    7: (reader) => {
      golden.snp = readSnp(reader.bytes());
    },
    8: (reader) => {
      golden.tdx = readTdx(reader.bytes());
    },
  });
  requireDigest(golden.digest);
  return golden;
}

function readTimestamp(bytes: Uint8Array): GceGolden['timestamp'] {
  const timestamp = { seconds: 0n, nanos: 0 };
  readMessage(bytes, {
    1: (reader) => {
      timestamp.seconds = BigInt(reader.int64());
    },
    2: (reader) => {
      timestamp.nanos = reader.int32();
    },
  });
  return timestamp;
}

function readSnp(bytes: Uint8Array): GceSnp {
  const measurements = new Map<number, Uint8Array>();
  const snp = { svn: 0, measurements, policy: 0n };
  readMessage(bytes, {
    1: (reader) => {
      snp.svn = reader.uint32();
    },
    2: (reader) => {
      const [vmsas, digest] = readEntry(reader.bytes());
      if (measurements.has(vmsas) || measurements.size === MAX_MEASUREMENTS) {
        throw new DecodeError('syntax', `measurement for ${vmsas} processors once too often`, 0);
      }
      measurements.set(vmsas, requireDigest(digest));
    },
    5: (reader) => {
      snp.policy = BigInt(reader.uint64());
    },
  });
  return snp;
}

function readEntry(bytes: Uint8Array): [number, Uint8Array] {
  const entry: [number, Uint8Array] = [0, new Uint8Array()];
  readMessage(bytes, {
    1: (reader) => {
      entry[0] = reader.uint32();
    },
    2: (reader) => {
      entry[1] = new Uint8Array(reader.bytes());
    },
  });
  return entry;
}

function readTdx(bytes: Uint8Array): GceTdx {
  const measurements: GceTdx['measurements'][number][] = [];
  const tdx = { svn: 0, measurements };
  readMessage(bytes, {
    1: (reader) => {
      tdx.svn = reader.uint32();
    },
    2: (reader) => {
      if (measurements.length === MAX_MEASUREMENTS) throw new DecodeError('range', 'too many measurements', 0);
      measurements.push(readTdxMeasurement(reader.bytes()));
    },
  });
  return tdx;
}

function readTdxMeasurement(bytes: Uint8Array): GceTdx['measurements'][number] {
  const measurement = { ramGib: 0, earlyAccept: false, mrTd: new Uint8Array() };
  readMessage(bytes, {
    1: (reader) => {
      measurement.ramGib = reader.uint32();
    },
    2: (reader) => {
      measurement.earlyAccept = reader.bool();
    },
    3: (reader) => {
      measurement.mrTd = new Uint8Array(reader.bytes());
    },
  });
  requireDigest(measurement.mrTd);
  return measurement;
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
 * @param certificates Further certificates between signer and root, DER; those in the endorsement are used as well.
 * @param options.now Milliseconds since 1970.
 * @throws EvidenceError `format`, `chain`, `validity`, `signature`
 */
export async function verifyGceEndorsement(
  bytes: Uint8Array,
  certificates: readonly Uint8Array[],
  pins: readonly Pin[],
  options: { readonly now: number },
): Promise<AuthenticatedGceEndorsement> {
  const { golden: signed, signature } = parsePart('format', 'endorsement', bytes, parseEndorsement);
  const golden = parsePart('format', 'endorsed measurements', signed, parseGolden);
  const leaf = parsePart('chain', 'endorsement certificate', golden.certificate, parseCertificate);
  const others = [...certificates, ...golden.caBundle].map((der) =>
    parsePart('chain', 'endorsement CA', der, parseCertificate),
  );
  const chain = await verifyChain(leaf, others, pins, options);
  if (!(await verifySignature(SCHEME, chain.key, signed, signature))) {
    throw new EvidenceError('signature', 'endorsement signature does not verify');
  }
  return { golden, chain } as AuthenticatedGceEndorsement;
}

/** What a VM showed, to be held against an endorsement. */
export interface EndorsedLaunch {
  /** SHA-384 of the firmware image, where the verifier has one in mind. */
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
