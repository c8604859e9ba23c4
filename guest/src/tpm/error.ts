/** TPM response codes by name (Part 2, 6.6), and the one error of the binding. */

/** TPM_RC of format zero: 0x100 + number. */
const FORMAT_ZERO = {
  initialize: 0x00,
  failure: 0x01,
  sequence: 0x03,
  private: 0x0b,
  hmac: 0x19,
  disabled: 0x20,
  exclusive: 0x21,
  'auth-type': 0x24,
  'auth-missing': 0x25,
  policy: 0x26,
  pcr: 0x27,
  'pcr-changed': 0x28,
  upgrade: 0x2d,
  'too-many-contexts': 0x2e,
  'auth-unavailable': 0x2f,
  reboot: 0x30,
  unbalanced: 0x31,
  'command-size': 0x42,
  'command-code': 0x43,
  'auth-size': 0x44,
  'auth-context': 0x45,
  'nv-range': 0x46,
  'nv-size': 0x47,
  'nv-locked': 0x48,
  'nv-authorization': 0x49,
  'nv-uninitialized': 0x4a,
  'nv-space': 0x4b,
  'nv-defined': 0x4c,
  'bad-context': 0x50,
  cphash: 0x51,
  parent: 0x52,
  'needs-test': 0x53,
  'no-result': 0x54,
  sensitive: 0x55,
} as const;

/**
 * TPM_RC of format one: 0x080 + number, with the handle, session or parameter at fault in bits 6
 * and 8 to 11.
 */
const FORMAT_ONE = {
  asymmetric: 0x01,
  attributes: 0x02,
  hash: 0x03,
  value: 0x04,
  hierarchy: 0x05,
  'key-size': 0x07,
  mgf: 0x08,
  mode: 0x09,
  type: 0x0a,
  handle: 0x0b,
  kdf: 0x0c,
  range: 0x0d,
  'auth-fail': 0x0e,
  nonce: 0x0f,
  pp: 0x10,
  scheme: 0x12,
  size: 0x15,
  symmetric: 0x16,
  tag: 0x17,
  selector: 0x18,
  insufficient: 0x1a,
  signature: 0x1b,
  key: 0x1c,
  'policy-fail': 0x1d,
  integrity: 0x1f,
  ticket: 0x20,
  'reserved-bits': 0x21,
  'bad-auth': 0x22,
  expired: 0x23,
  'policy-cc': 0x24,
  binding: 0x25,
  curve: 0x26,
  'ecc-point': 0x27,
} as const;

/** Warnings: 0x900 + number. */
const WARNING = {
  'context-gap': 0x01,
  'object-memory': 0x02,
  'session-memory': 0x03,
  memory: 0x04,
  'session-handles': 0x05,
  'object-handles': 0x06,
  locality: 0x07,
  yielded: 0x08,
  canceled: 0x09,
  testing: 0x0a,
  'reference-h0': 0x10,
  'reference-h1': 0x11,
  'reference-h2': 0x12,
  'reference-h3': 0x13,
  'reference-h4': 0x14,
  'reference-h5': 0x15,
  'reference-h6': 0x16,
  'reference-s0': 0x18,
  'reference-s1': 0x19,
  'reference-s2': 0x1a,
  'reference-s3': 0x1b,
  'reference-s4': 0x1c,
  'reference-s5': 0x1d,
  'reference-s6': 0x1e,
  'nv-rate': 0x20,
  lockout: 0x21,
  retry: 0x22,
  'nv-unavailable': 0x23,
} as const;

/** Why a command gave no result: the TPM's own reason, or one of ours. */
export type TpmErrorCode =
  | keyof typeof FORMAT_ZERO
  | keyof typeof FORMAT_ONE
  | keyof typeof WARNING
  | 'unknown' // a response code that has no name here
  | 'transport' // the bytes could not be exchanged; the transport is closed
  | 'response' // the response is not the format it must be; the DecodeError is the cause
  | 'provenance' // a sealed secret was not sealed by the software that is trusted to have done it
  | 'unsettled' // registers kept changing while they were read
  | 'unusable'; // the TPM lacks what is needed, or gave a key of another kind than was asked for

/** A TPM command failed. `rc` is the response code, 0 if none was received. */
export class TpmError extends Error {
  override readonly name = 'TpmError';
  readonly code: TpmErrorCode;
  readonly rc: number;

  constructor(code: TpmErrorCode, message: string, options?: ErrorOptions & { readonly rc?: number }) {
    super(message, options);
    this.code = code;
    this.rc = options?.rc ?? 0;
  }
}

const NAMES = new Map<number, TpmErrorCode>(
  (
    [
      [0x100, FORMAT_ZERO],
      [0x080, FORMAT_ONE],
      [0x900, WARNING],
    ] as const
  ).flatMap(([base, table]) =>
    Object.entries(table).map(([name, number]) => [base + number, name as TpmErrorCode] as const),
  ),
);

/** The error of a response code: `handle (parameter 2) from NV_Read`. */
export function errorOf(rc: number, command: string): TpmError {
  const formatOne = (rc & 0x080) !== 0;
  const code = NAMES.get(formatOne ? rc & 0x0bf : rc) ?? 'unknown';
  const name = code === 'unknown' ? 'unknown response code' : code;
  return new TpmError(code, `${name}${formatOne ? ` (${fault(rc)})` : ''} from ${command}, rc 0x${rc.toString(16)}`, {
    rc,
  });
}

function fault(rc: number): string {
  const index = (rc >> 8) & 0x0f;
  if ((rc & 0x040) !== 0) return `parameter ${index}`;
  return index >= 8 ? `session ${index - 8}` : `handle ${index}`;
}
