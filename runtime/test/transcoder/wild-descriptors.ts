/** The .proto files of the transcoder's tests and of the project's apps, compiled together. */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** All of the types in one set of descriptors. */
export async function wildDescriptors(): Promise<Descriptors> {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-wild-'));
  try {
    for (const from of FOLDERS) cpSync(join(root, from), folder, { recursive: true });
    return readDescriptors(await compileProtos(folder));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
