/**
 * Program of a test: a runtime over a software TPM, on a file that stands for its disk. It says where it serves, or what
 * it refused, and serves until it is killed.
 */

import { readFile } from 'node:fs/promises';
import { openTpmSocket } from '../../guest/src/tpm/transport.ts';
import { bootAttested } from '../support/attested-runtime.ts';
import { CutDisk } from './cut-disk.ts';
import type { Boot, Said } from './life.ts';

const { bundle, policy, digest, tpm, disk, bytes, fault } = JSON.parse(process.argv[2] ?? '') as Boot;

function say(said: Said): void {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

try {
  const { target, references } = await bootAttested(
    { bytes: await readFile(bundle), policy, digest },
    {
      swtpm: { folder: tpm.folder, connect: () => openTpmSocket({ path: tpm.path }) },
      logFile: disk,
      logBytes: bytes,
      ...(fault && { device: (honest) => new CutDisk(honest, fault) }),
    },
  );
  say({ kind: 'serving', target, references });
} catch (error) {
  const { code = '', message } = error as Error & { code?: string };
  say({ kind: 'refused', code, message });
  process.exit(1);
}
