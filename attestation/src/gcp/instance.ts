/**
 * The VM that Google's certificate of a vTPM's key names (google/go-tpm-tools,
 * server/instance_info.go).
 */

import { fromUtf8 } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import type { Certificate } from '../x509/certificate.ts';
import { contextTag, DerReader, soleElement, TAG } from '../x509/der.ts';

/** A VM of Google Compute Engine. **Trust**: as authentic as the certificate. */
export interface GceInstance {
  readonly zone: string;
  readonly projectNumber: bigint;
  readonly projectId: string;
  readonly instanceId: bigint;
  readonly instanceName: string;
}

/** Google's arc for it. */
const INSTANCE = '1.3.6.1.4.1.11129.2.1.21';

/**
 * Reads the extension.
 * @throws DecodeError; `range` if Google does not call the VM one of production
 */
export function readGceInstance({ extensions }: Certificate): GceInstance {
  const extension = extensions.get(INSTANCE);
  if (extension === undefined) throw new DecodeError('syntax', 'the certificate names no instance', 0);
  const fields = DerReader.inside(soleElement(extension.value, TAG.sequence, 'instance'));
  const text = (name: string): string => fromUtf8(fields.next(TAG.utf8String, name).body);
  const number = (name: string): bigint => unsigned(fields.integer(name), name);
  const instance = {
    zone: text('zone'),
    projectNumber: number('project number'),
    projectId: text('project'),
    instanceId: number('instance id'),
    instanceName: text('instance name'),
  };
  requireProduction(fields.sequence('security properties', contextTag(0)).sequence('security properties'));
  fields.end('instance');
  return instance;
}

/** 64 bits, behind a zero octet if the highest is set. */
function unsigned(octets: Uint8Array, name: string): bigint {
  if (octets.length > 9 || (octets[0] ?? 0) >= 0x80) throw new DecodeError('range', `${name} is out of range`, 0);
  return octets.reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

/**
 * Refuses a VM that is not one of production. Context tags of the properties: 0 is the security
 * version, 1 whether the machine is one of production; the rest are those of shielded VMs.
 */
function requireProduction(properties: DerReader): void {
  const production = contextTag(1);
  while (!properties.empty && !properties.has(production)) properties.any();
  const value = properties.empty ? null : properties.sequence('production', production);
  if (value?.boolean('production') !== true) throw new DecodeError('range', 'not an instance of production', 0);
}
