/**
 * The variables that a firmware image brings along: an authenticated variable store in a firmware
 * volume (PI 1.8, volume 3, 3.2; edk2, MdeModulePkg/Include/Guid/VariableFormat.h).
 */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { formatGuid, GUID_LENGTH } from '../guid.ts';
import type { SecureBootVariables } from './tdx-events.ts';

/** A variable that is in force. */
export interface FirmwareVariable {
  /** Vendor GUID, lower case. */
  readonly vendor: string;
  readonly name: string;
  readonly data: Uint8Array;
}

const VOLUME_GUID = 'fff12b8d-7696-4c8b-a985-2747075b4f50';
const STORE_GUID = 'aaf32c78-947b-439a-a180-2e144ec37792';
const VOLUME_SIGNATURE = 0x4856_465f; // _FVH
const STORE_HEADER = GUID_LENGTH + 12;
/** A store that is formatted and healthy. */
const [FORMATTED, HEALTHY] = [0x5a, 0xfe];
const VARIABLE_MARK = 0x55aa;
/** Contents of flash that was never written. */
const ERASED = 0xffff;
/**
 * State bits are cleared one after the other: written whole, then marked for deletion, then
 * deleted.
 */
const IN_FORCE = 0x3f;
const DELETED: readonly number[] = [0x3d, 0x3c];
const MAX_VARIABLES = 256;
const MAX_NAME = 512;

/**
 * The variables of a configuration volume, in the order of the store.
 * @throws DecodeError; `version` for a store of another format, or one that was caught in the
 * middle of a write
 */
export function parseVariables(volume: Uint8Array): FirmwareVariable[] {
  const reader = openStore(volume);
  const variables: FirmwareVariable[] = [];
  for (let left = MAX_VARIABLES; reader.left >= 4; left--) {
    const { at } = reader;
    const [mark, state] = [reader.u16le(), reader.u8()];
    if (mark === ERASED) break;
    if (mark !== VARIABLE_MARK || left === 0) throw new DecodeError('syntax', 'not a variable', at);
    if (state !== IN_FORCE && !DELETED.includes(state)) throw new DecodeError('version', `variable state ${state}`, at);
    reader.skip(1 + 4 + 8 + 16 + 4); // reserved, attributes, and the fields against replays
    const [nameLength, dataLength] = [reader.u32le(), reader.u32le()];
    const vendor = formatGuid(reader.take(GUID_LENGTH));
    if (nameLength < 4 || nameLength > MAX_NAME || nameLength % 2 !== 0)
      throw new DecodeError('range', `variable name of ${nameLength} bytes`, at);
    const name = readName(reader.sub(nameLength), nameLength / 2);
    const data = reader.take(dataLength);
    if (state === IN_FORCE) variables.push({ vendor, name, data });
    reader.skip(Math.min(reader.left, -reader.at & 3));
  }
  return variables;
}

/** Range of a volume in which variables may stand, from offset to offset. @throws DecodeError */
export function variableRange(volume: Uint8Array): readonly [from: number, to: number] {
  const { at, left } = openStore(volume);
  return [at, at + left];
}

/**
 * The variables of Secure Boot in a volume. With a platform key Secure Boot is on, and firmware
 * says so in a variable that it makes anew at each start. Without one that variable is zero or
 * missing, depending on the build, and is given as empty.
 * @throws DecodeError; `syntax` for a variable that stands twice
 */
export function secureBootVariables(volume: Uint8Array): SecureBootVariables {
  const variables = parseVariables(volume);
  const find = (wanted: string): Uint8Array => {
    const [found, second] = variables.filter(({ name, vendor }) => name === wanted && vendor === VENDORS[wanted]);
    if (second !== undefined) throw new DecodeError('syntax', `variable ${wanted} stands twice`, 0);
    return found?.data ?? new Uint8Array();
  };
  const [PK, KEK, db, dbx] = [find('PK'), find('KEK'), find('db'), find('dbx')];
  return { SecureBoot: PK.length > 0 ? Uint8Array.of(1) : new Uint8Array(), PK, KEK, db, dbx };
}

const GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const IMAGE_SECURITY_DATABASE = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';
const VENDORS: Readonly<Record<string, string>> = {
  PK: GLOBAL_VARIABLE,
  KEK: GLOBAL_VARIABLE,
  db: IMAGE_SECURITY_DATABASE,
  dbx: IMAGE_SECURITY_DATABASE,
};

/** A reader over the contents of the store, after its header. */
function openStore(volume: Uint8Array): Reader {
  const header = new Reader(volume);
  header.zeros(16, 'zero vector');
  const guid = formatGuid(header.take(GUID_LENGTH));
  const length = header.u64le();
  const signature = header.u32le();
  if (guid !== VOLUME_GUID || signature !== VOLUME_SIGNATURE)
    throw new DecodeError('magic', 'not a volume of variables', 0);
  if (length !== BigInt(volume.length)) throw new DecodeError('range', `volume of ${length} bytes`, 32);
  header.skip(4);
  const start = header.u16le();
  const store = new Reader(volume.subarray(start), start);
  if (formatGuid(store.take(GUID_LENGTH)) !== STORE_GUID) throw new DecodeError('magic', 'not a variable store', start);
  const size = store.u32le();
  if (store.u8() !== FORMATTED || store.u8() !== HEALTHY) throw new DecodeError('version', 'store not in order', start);
  store.skip(6);
  if (size < STORE_HEADER) throw new DecodeError('range', `store of ${size} bytes`, start);
  return store.sub(size - STORE_HEADER);
}

/** UCS-2 with its NUL. */
function readName(reader: Reader, units: number): string {
  const codes = Array.from({ length: units }, () => reader.u16le());
  if (codes.indexOf(0) !== units - 1) throw new DecodeError('syntax', 'variable name does not end with its NUL', 0);
  return String.fromCharCode(...codes.slice(0, -1));
}
