/** Message types for the transcoder's tests: every kind of field, and those of the project's apps. */

import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescMessage } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { type Descriptors, readDescriptors } from '@enclaim/policy-schema/admission';

const root = join(import.meta.dirname, '../../..');
const FOLDERS = [
  'runtime/test/transcoder/proto',
  'examples/clinic/proto',
  'test/payroll-app/proto',
  'test/streams-app/proto',
  'test/hostile/proto',
];
const TYPES = [
  ...['All', 'Scalars', 'Maybe', 'Lists', 'Maps', 'Choices', 'Tree', 'Known', 'Open', 'Older', 'Edition'].map(
    (name) => `wild.${name}`,
  ),
  ...[
    'clinic.v1.SubmitRequest',
    'clinic.v1.Observation',
    'clinic.v1.Patient',
    'hr.v1.Slip',
    'lab.v1.Note',
    'lab.v1.Ack',
  ],
];

/** All of the types in one set of descriptors. */
export async function wildDescriptors(): Promise<Descriptors> {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-wild-'));
  try {
    mkdirSync(folder, { recursive: true });
    for (const from of FOLDERS) cpSync(join(root, from), folder, { recursive: true });
    return readDescriptors(await compileProtos(folder));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The types that messages are made of. */
export function wildTypes({ registry }: Descriptors): DescMessage[] {
  return TYPES.map((name) => {
    const type = registry.getMessage(name);
    if (type === undefined) throw new Error(`no type ${name}`);
    return type;
  });
}
