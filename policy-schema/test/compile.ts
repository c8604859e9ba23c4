/** Descriptors from .proto text, by the compiler that users' protos go through. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { compileProtos } from '../../image/src/programs/protos.ts';
import { type Descriptors, readDescriptors } from '../src/index.ts';

/** Compiles files, given as path and text. */
export async function compileFiles(files: Readonly<Record<string, string>>): Promise<Descriptors> {
  const dir = mkdtempSync(join(tmpdir(), 'enclaim-compile-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    return readDescriptors(await compileProtos(dir));
  } finally {
    rmSync(dir, { recursive: true });
  }
}
