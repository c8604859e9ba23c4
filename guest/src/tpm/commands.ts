/**
 * TPM 2.0 commands as a table: code, handles, authorisations, parameters, response (Part 3, rev
 * 1.59).
 */

import { concat, type Reader } from '@enclaim/attestation/bytes';
import { HASH_LENGTH, type HashName } from '@enclaim/attestation/digest';
import {
  ALG_NULL,
  type Codec,
  fixed,
  flags,
  hashId,
  list,
  MAX_DIGEST,
  MAX_NAME,
  named,
  type PcrSelection,
  pcrSelection,
  rest,
  type Symmetric,
  sized,
  struct,
  suffixed,
  symmetric,
  type TpmPublic,
  tagged,
  tpm2b,
  tpmPublic,
  u8,
  u16,
  u32,
  yesNo,
} from '@enclaim/attestation/tpm';

/** One command. `In` holds its handles and parameters by name, `Out` the fields of its response. */
export interface Command<In, Out> {
  readonly name: string;
  readonly code: number;
  /** Handles that need an authorisation each; they stand first. */
  readonly authorised: readonly (keyof In & string)[];
  readonly handles: readonly (keyof In & string)[];
  readonly parameters: { encode(input: In): Uint8Array };
  /** Whether a handle, `handle` of `Out`, stands before the parameters of the response. */
  readonly returnsHandle: boolean;
  readonly response: { decode(reader: Reader): Omit<Out, 'handle'> };
}

/** TPMA_NV (Part 2, 13.4). `counter` is the index type TPM_NT_COUNTER. */
const NV_ATTRIBUTES = {
  ppWrite: 0,
  ownerWrite: 1,
  authWrite: 2,
  policyWrite: 3,
  counter: 4,
  bits: 5,
  extend: 6,
  pinPass: 7,
  policyDelete: 10,
  writeLocked: 11,
  writeAll: 12,
  writeDefine: 13,
  writeStClear: 14,
  globalLock: 15,
  ppRead: 16,
  ownerRead: 17,
  authRead: 18,
  policyRead: 19,
  noDA: 25,
  orderly: 26,
  clearStClear: 27,
  readLocked: 28,
  written: 29,
  platformCreate: 30,
  readStClear: 31,
} as const;

export type NvAttribute = keyof typeof NV_ATTRIBUTES;

/** TPMS_NV_PUBLIC: what an NV index is. */
export interface NvPublic {
  readonly nvIndex: number;
  readonly nameAlg: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  readonly attributes: readonly NvAttribute[];
  readonly authPolicy: Uint8Array;
  /** Bytes. */
  readonly dataSize: number;
}

/** TPMU_CAPABILITIES, as far as it is asked for. */
export type CapabilityData =
  | { readonly capability: 'handles'; readonly handles: readonly number[] }
  | { readonly capability: 'pcrs'; readonly banks: readonly { readonly bank: number; readonly bitmap: Uint8Array }[] }
  | {
      readonly capability: 'properties';
      readonly properties: readonly { readonly property: number; readonly value: number }[];
    };

/** TPM_CAP. */
export const CAPABILITY = { handles: 0x01, pcrs: 0x05, properties: 0x06 } as const;

/** TPM_SE. A trial session computes a policy without satisfying it. */
export const SESSION_TYPE = { hmac: 0x00, policy: 0x01, trial: 0x03 } as const;

/** The sensitive area of a new object: its authorisation value, and data to seal. */
export interface Creation {
  readonly sensitive: { readonly userAuth: Uint8Array; readonly data: Uint8Array };
  readonly publicArea: TpmPublic;
  /** Registers whose digest is noted in the creation data. */
  readonly creationPcrs: PcrSelection;
}

/** Notes of the TPM on how it made an object, with its proof of them. */
export interface CreationProof {
  /** TPMS_CREATION_DATA. */
  readonly creationData: Uint8Array;
  /** Hash of the creation data under the name algorithm of the object. */
  readonly creationHash: Uint8Array;
  /** TPMT_TK_CREATION: ties the hash to the object's name, for this TPM alone to check. */
  readonly creationTicket: Ticket;
}

/** TPMT_TK_CREATION and the like. */
export interface Ticket {
  readonly tag: number;
  readonly hierarchy: number;
  readonly digest: Uint8Array;
}

/** One bank's digest: TPMT_HA. */
export interface TaggedDigest {
  readonly bank: HashName;
  readonly digest: Uint8Array;
}

/** A signed statement of the TPM: TPMS_ATTEST and TPMT_SIGNATURE, as they came. */
export interface Signed {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
}

type None = Record<never, never>;

/** Bytes: any structure that is passed on unread; a sealed secret; TPMS_ID_OBJECT; a salt. */
const MAX_BLOB = 2048;
const MAX_SEALED = 128;
const MAX_CREDENTIAL = 256;
const MAX_SALT = 512;

/** TPM_EO, as far as it is used: how PolicyNV compares an index with an operand. */
export const COMPARISON = { equal: 0x0000 } as const;

const nothing = struct<None>({});
const startupType = named(u16, { clear: 0, state: 1 });
const publicArea = sized(tpmPublic);
/**
 * A bitmap after a length of one byte. Unlike in a selection, banks of hashes that are not known
 * here may stand in it.
 */
const bitmap: Codec<Uint8Array> = {
  decode: (reader) => reader.take(reader.u8()),
  encode: (value) => concat(u8.encode(value.length), value),
};
const taggedDigest: Codec<TaggedDigest> = {
  decode: (reader) => {
    const bank = hashId.decode(reader);
    return { bank, digest: reader.take(HASH_LENGTH[bank]) };
  },
  encode: ({ bank, digest }) => concat(hashId.encode(bank), fixed(HASH_LENGTH[bank]).encode(digest)),
};
const capabilityData: Codec<CapabilityData> = tagged(
  'capability',
  {
    handles: [CAPABILITY.handles, struct({ handles: list(u32, 254) })],
    pcrs: [CAPABILITY.pcrs, struct({ banks: list(struct({ bank: u16, bitmap }), 16) })],
    properties: [CAPABILITY.properties, struct({ properties: list(struct({ property: u32, value: u32 }), 127) })],
  },
  u32,
);
const creation = struct({
  sensitive: sized(struct({ userAuth: tpm2b(MAX_DIGEST), data: tpm2b(MAX_SEALED) })),
  // No outside information.
  publicArea: suffixed(publicArea, 0, 0),
  creationPcrs: pcrSelection,
});
export const ticket: Codec<Ticket> = struct({ tag: u16, hierarchy: u32, digest: tpm2b(MAX_DIGEST) });
const creationProof = { creationData: tpm2b(MAX_BLOB), creationHash: tpm2b(MAX_DIGEST), creationTicket: ticket };
/** TPMS_NV_PUBLIC. */
export const nvPublicArea: Codec<NvPublic> = struct({
  nvIndex: u32,
  nameAlg: hashId,
  attributes: flags(NV_ATTRIBUTES),
  authPolicy: tpm2b(MAX_DIGEST),
  dataSize: u16,
});
const nvPublic = sized(nvPublicArea);
/** With TPM_ALG_NULL after it: sign under the scheme of the key. */
const qualifyingData = suffixed(tpm2b(MAX_NAME), 0, ALG_NULL);
const signed: Codec<Signed> = struct({ attest: tpm2b(MAX_BLOB), signature: rest });

export const STARTUP: Command<{ type: 'clear' | 'state' }, None> = command('Startup', 0x144, {
  parameters: struct({ type: startupType }),
});

export const SHUTDOWN: Command<{ type: 'clear' | 'state' }, None> = command('Shutdown', 0x145, {
  parameters: struct({ type: startupType }),
});

export const GET_CAPABILITY: Command<
  { capability: keyof typeof CAPABILITY; property: number; count: number },
  { more: boolean; data: CapabilityData }
> = command('GetCapability', 0x17a, {
  parameters: struct({ capability: named(u32, CAPABILITY), property: u32, count: u32 }),
  response: struct({ more: yesNo, data: capabilityData }),
});

export const GET_RANDOM: Command<{ count: number }, { bytes: Uint8Array }> = command('GetRandom', 0x17b, {
  parameters: struct({ count: u16 }),
  response: struct({ bytes: tpm2b(MAX_DIGEST) }),
});

/** `handle` must be flushed. */
export const CREATE_PRIMARY: Command<
  { hierarchy: number } & Creation,
  { handle: number; publicArea: TpmPublic; name: Uint8Array }
> = command('CreatePrimary', 0x131, {
  authorised: ['hierarchy'],
  parameters: creation,
  returnsHandle: true,
  response: struct({ publicArea, ...creationProof, name: tpm2b(MAX_NAME) }),
});

/** `privateArea` is encrypted by the parent. */
export const CREATE: Command<
  { parent: number } & Creation,
  { privateArea: Uint8Array; publicArea: TpmPublic } & CreationProof
> = command('Create', 0x153, {
  authorised: ['parent'],
  parameters: creation,
  response: struct({ privateArea: tpm2b(MAX_BLOB), publicArea, ...creationProof }),
});

/** `handle` must be flushed. */
export const LOAD: Command<
  { parent: number; privateArea: Uint8Array; publicArea: TpmPublic },
  { handle: number; name: Uint8Array }
> = command('Load', 0x157, {
  authorised: ['parent'],
  parameters: struct({ privateArea: tpm2b(MAX_BLOB), publicArea }),
  returnsHandle: true,
  response: struct({ name: tpm2b(MAX_NAME) }),
});

export const READ_PUBLIC: Command<
  { object: number },
  { publicArea: TpmPublic; name: Uint8Array; qualifiedName: Uint8Array }
> = command('ReadPublic', 0x173, {
  handles: ['object'],
  response: struct({ publicArea, name: tpm2b(MAX_NAME), qualifiedName: tpm2b(MAX_NAME) }),
});

/** Gives at most eight values; `selection` of the response says which. */
export const PCR_READ: Command<
  { selection: PcrSelection },
  { updateCounter: number; selection: PcrSelection; values: readonly Uint8Array[] }
> = command('PCR_Read', 0x17e, {
  parameters: struct({ selection: pcrSelection }),
  response: struct({ updateCounter: u32, selection: pcrSelection, values: list(tpm2b(MAX_DIGEST), 8) }),
});

export const PCR_EXTEND: Command<{ pcr: number; digests: readonly TaggedDigest[] }, None> = command(
  'PCR_Extend',
  0x182,
  { authorised: ['pcr'], parameters: struct({ digests: list(taggedDigest, 16) }) },
);

/** Signs under the scheme of the key. */
export const QUOTE: Command<{ sign: number; qualifyingData: Uint8Array; selection: PcrSelection }, Signed> = command(
  'Quote',
  0x158,
  {
    authorised: ['sign'],
    parameters: struct({ qualifyingData, selection: pcrSelection }),
    response: signed,
  },
);

/** `sign` says that `object` is loaded in this TPM. */
export const CERTIFY: Command<{ object: number; sign: number; qualifyingData: Uint8Array }, Signed> = command(
  'Certify',
  0x148,
  { authorised: ['object', 'sign'], parameters: struct({ qualifyingData }), response: signed },
);

/**
 * Fails with `ticket` if this TPM did not make `object` with creation data of this hash. `sign` may
 * be TPM_RH_NULL.
 */
export const CERTIFY_CREATION: Command<
  { sign: number; object: number; qualifyingData: Uint8Array; creationHash: Uint8Array; creationTicket: Ticket },
  Signed
> = command('CertifyCreation', 0x14a, {
  authorised: ['sign'],
  handles: ['object'],
  parameters: struct({
    qualifyingData: tpm2b(MAX_NAME),
    // Under the scheme of the key.
    creationHash: suffixed(tpm2b(MAX_DIGEST), 0, ALG_NULL),
    creationTicket: ticket,
  }),
  response: signed,
});

/**
 * Gives the secret of a credential to the TPM that holds both the key it names and the key it is
 * encrypted to.
 */
export const ACTIVATE_CREDENTIAL: Command<
  { activate: number; key: number; credentialBlob: Uint8Array; encryptedSecret: Uint8Array },
  { secret: Uint8Array }
> = command('ActivateCredential', 0x147, {
  authorised: ['activate', 'key'],
  parameters: struct({ credentialBlob: tpm2b(MAX_CREDENTIAL), encryptedSecret: tpm2b(MAX_SALT) }),
  response: struct({ secret: tpm2b(MAX_DIGEST) }),
});

export const UNSEAL: Command<{ item: number }, { data: Uint8Array }> = command('Unseal', 0x15e, {
  authorised: ['item'],
  response: struct({ data: tpm2b(MAX_SEALED) }),
});

/**
 * Starts a session. `handle` must be flushed if no command ends the session.
 *
 * `encryptedSalt` is encrypted to `key`, or empty where `key` is TPM_RH_NULL. `symmetric` is the
 * cipher of parameters.
 */
export const START_AUTH_SESSION: Command<
  {
    key: number;
    bind: number;
    nonceCaller: Uint8Array;
    encryptedSalt: Uint8Array;
    type: keyof typeof SESSION_TYPE;
    symmetric: Symmetric;
    hash: HashName;
  },
  { handle: number; nonceTpm: Uint8Array }
> = command('StartAuthSession', 0x176, {
  handles: ['key', 'bind'],
  parameters: struct({
    nonceCaller: tpm2b(MAX_DIGEST),
    encryptedSalt: tpm2b(MAX_SALT),
    type: named(u8, SESSION_TYPE),
    symmetric,
    hash: hashId,
  }),
  returnsHandle: true,
  response: struct({ nonceTpm: tpm2b(MAX_DIGEST) }),
});

/**
 * Fails with `value` if the registers do not have `pcrDigest`. An empty one takes them as they are.
 */
export const POLICY_PCR: Command<{ session: number; pcrDigest: Uint8Array; selection: PcrSelection }, None> = command(
  'PolicyPCR',
  0x17f,
  { handles: ['session'], parameters: struct({ pcrDigest: tpm2b(MAX_DIGEST), selection: pcrSelection }) },
);

/**
 * Fails with `policy` unless `operand` compares so with as many bytes of the index from `offset`
 * on.
 */
export const POLICY_NV: Command<
  {
    by: number;
    index: number;
    session: number;
    operand: Uint8Array;
    offset: number;
    comparison: keyof typeof COMPARISON;
  },
  None
> = command('PolicyNV', 0x149, {
  authorised: ['by'],
  handles: ['index', 'session'],
  parameters: struct({ operand: tpm2b(MAX_DIGEST), offset: u16, comparison: named(u16, COMPARISON) }),
});

export const POLICY_SECRET: Command<{ entity: number; session: number }, { timeout: Uint8Array }> = command(
  'PolicySecret',
  0x151,
  {
    authorised: ['entity'],
    handles: ['session'],
    // Neither nonce nor cpHash nor policyRef nor expiry.
    parameters: suffixed(nothing, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    response: struct({ timeout: tpm2b(8), ticket }),
  },
);

/** The handle is a parameter here, so that a session can be flushed while it is unusable. */
export const FLUSH_CONTEXT: Command<{ object: number }, None> = command('FlushContext', 0x165, {
  parameters: struct({ object: u32 }),
});

/**
 * Saves an object as `context` (TPMS_CONTEXT): encrypted by the TPM, good until its next reset,
 * also after a flush.
 */
export const CONTEXT_SAVE: Command<{ object: number }, { context: Uint8Array }> = command('ContextSave', 0x162, {
  handles: ['object'],
  response: struct({ context: rest }),
});

/** `handle` must be flushed. */
export const CONTEXT_LOAD: Command<{ context: Uint8Array }, { handle: number }> = command('ContextLoad', 0x161, {
  parameters: struct({ context: rest }),
  returnsHandle: true,
});

/** Makes a loaded object persistent under `persistent`, or removes the persistent `object`. */
export const EVICT_CONTROL: Command<{ hierarchy: number; object: number; persistent: number }, None> = command(
  'EvictControl',
  0x120,
  { authorised: ['hierarchy'], handles: ['object'], parameters: struct({ persistent: u32 }) },
);

export const NV_READ_PUBLIC: Command<{ index: number }, { nvPublic: NvPublic; name: Uint8Array }> = command(
  'NV_ReadPublic',
  0x169,
  { handles: ['index'], response: struct({ nvPublic, name: tpm2b(MAX_NAME) }) },
);

export const NV_DEFINE_SPACE: Command<{ hierarchy: number; auth: Uint8Array; nvPublic: NvPublic }, None> = command(
  'NV_DefineSpace',
  0x12a,
  { authorised: ['hierarchy'], parameters: struct({ auth: tpm2b(MAX_DIGEST), nvPublic }) },
);

export const NV_UNDEFINE_SPACE: Command<{ hierarchy: number; index: number }, None> = command(
  'NV_UndefineSpace',
  0x122,
  { authorised: ['hierarchy'], handles: ['index'] },
);

export const NV_READ: Command<{ by: number; index: number; size: number; offset: number }, { data: Uint8Array }> =
  command('NV_Read', 0x14e, {
    authorised: ['by'],
    handles: ['index'],
    parameters: struct({ size: u16, offset: u16 }),
    response: struct({ data: tpm2b(MAX_BLOB) }),
  });

export const NV_WRITE: Command<{ by: number; index: number; data: Uint8Array; offset: number }, None> = command(
  'NV_Write',
  0x137,
  { authorised: ['by'], handles: ['index'], parameters: struct({ data: tpm2b(MAX_BLOB), offset: u16 }) },
);

export const NV_INCREMENT: Command<{ by: number; index: number }, None> = command('NV_Increment', 0x134, {
  authorised: ['by'],
  handles: ['index'],
});

/** A command from what is not usual in it. */
function command<In, Out>(
  name: string,
  code: number,
  {
    authorised = [],
    handles = [],
    parameters = nothing as { encode(input: NoInfer<In>): Uint8Array },
    returnsHandle = false,
    response = nothing as Codec<Omit<Out, 'handle'>>,
  }: Partial<Command<NoInfer<In>, NoInfer<Out>>>,
): Command<In, Out> {
  return { name, code, authorised, handles, parameters, returnsHandle, response };
}
