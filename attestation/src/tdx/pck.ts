/**
 * The platform that a PCK certificate names: Intel's SGX extension (Intel PCK certificate profile
 * 1.6, section 3.5).
 */

import { toHex } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { deriveOnce } from '../parse-once.ts';
import type { Certificate } from '../x509/certificate.ts';
import { DerReader, soleElement, TAG } from '../x509/der.ts';

const SGX = '1.2.840.113741.1.13.1';
const OID = { tcb: `${SGX}.2`, pceId: `${SGX}.3`, fmspc: `${SGX}.4` } as const;
const COMPONENTS = 16;
const MAX_FIELDS = 32;

/** A platform at a patch level. */
export interface PckPlatform {
  /**
   * Family, model, stepping and custom SKU: 6 bytes, lower-case hexadecimal. It names the TCB info
   * that applies.
   */
  readonly fmspc: string;
  readonly pceId: string;
  readonly pceSvn: number;
  /** 16 security versions. */
  readonly components: readonly number[];
}

/**
 * Reads the SGX extension.
 *
 * **Trust**: as authentic as the certificate.
 * @throws DecodeError
 */
export const readPckPlatform: (certificate: Certificate) => PckPlatform = deriveOnce(({ extensions }) => {
  const extension = extensions.get(SGX);
  if (extension === undefined) throw new DecodeError('syntax', 'certificate has no SGX extension', 0);
  const fields = readFields(DerReader.inside(soleElement(extension.value, TAG.sequence, 'SGX extension')));
  const tcb = readFields(need(fields, OID.tcb).sequence('TCB'));
  const component = (number: number): number => {
    const value = need(tcb, `${OID.tcb}.${number}`).smallInteger(`TCB component ${number}`);
    if (value > (number > COMPONENTS ? 0xffff : 0xff))
      throw new DecodeError('range', `TCB component ${number} is ${value}`, 0);
    return value;
  };
  return {
    fmspc: octets(need(fields, OID.fmspc), 6),
    pceId: octets(need(fields, OID.pceId), 2),
    pceSvn: component(COMPONENTS + 1),
    components: Array.from({ length: COMPONENTS }, (_, index) => component(index + 1)),
  };
});

/** Pairs of an object identifier and a value, by identifier. */
function readFields(list: DerReader): Map<string, DerReader> {
  const fields = new Map<string, DerReader>();
  while (!list.empty) {
    const pair = list.sequence('SGX field');
    const oid = pair.oid('SGX field');
    if (fields.has(oid) || fields.size === MAX_FIELDS)
      throw new DecodeError('syntax', `SGX field ${oid} once too often`, 0);
    fields.set(oid, pair);
  }
  return fields;
}

function need(fields: ReadonlyMap<string, DerReader>, oid: string): DerReader {
  const field = fields.get(oid);
  if (field === undefined) throw new DecodeError('syntax', `SGX field ${oid} is absent`, 0);
  return field;
}

function octets(reader: DerReader, length: number): string {
  const { body, at } = reader.next(TAG.octetString, 'SGX field');
  if (body.length !== length)
    throw new DecodeError('range', `SGX field of ${body.length} bytes, expected ${length}`, at);
  return toHex(body);
}
