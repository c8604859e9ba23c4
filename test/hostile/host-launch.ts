/** Attacks of the host by what it launches: the bundle, its disk, and the command line. */

import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import * as app from '../../guest/src/app.ts';
import * as line from '../../guest/src/linux/command-line.ts';
import * as disk from '../../guest/src/linux/disk.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

const APP = { path: 'guest/src/app.ts' as const, whole: app };
const LINE = { path: 'guest/src/linux/command-line.ts' as const, whole: line };
const DISK = { path: 'guest/src/linux/disk.ts' as const, whole: disk };

const POLICY = utf8('{}');
const BUNDLE = encodeBundle({
  policy: POLICY,
  descriptors: new Uint8Array(10),
  handlers: utf8('exports.handlers = {}'),
});

/** Whether a guest takes a disk with these bytes; `size` is what the host says of it. */
async function takes(
  { measureApp }: typeof app,
  bytes: Uint8Array,
  { size = bytes.length, launched = digestOfCanonical(POLICY) } = {},
): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-host-'));
  try {
    const path = join(folder, 'app');
    await writeFile(path, bytes);
    if (size > bytes.length) await truncate(path, Math.min(size, 2 ** 31));
    await measureApp({ path, size, readOnly: true }, launched, { measure: async () => {} });
    return true;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(BUNDLE);
  change(bytes);
  return bytes;
}

/** Every attack by what is launched. */
export const launchAttacks: readonly Attack[] = [
  onSource(APP, 'another policy than the launch was measured with', 'digest on the command line', (module) =>
    takes(module, BUNDLE, { launched: `sha384:${'0'.repeat(96)}` }),
  ),
  onSource(APP, 'a bundle of a terabyte', 'length of a bundle', async (module) => {
    const huge = changed((bytes) => bytes.writeBigUInt64BE(2n ** 40n, 16 + 8));
    // With the limit off the guest tries to hold all of it: whatever comes of that is no refusal.
    return takes(module, huge, { size: 2 ** 41 }).catch((error) => error.name !== 'Refusal');
  }),
  onSource(
    APP,
    'a bundle beyond the end of its disk',
    'size of the disk',
    (module) => takes(module, BUNDLE.subarray(0, 512), { size: 512, launched: null as never }),
    ['size of the disk', 'end of the disk'],
  ),
  onSource(APP, 'sections in another order', 'order of sections', (module) =>
    takes(
      module,
      changed((bytes) => {
        bytes.writeUInt32BE(3, 16);
        bytes.writeUInt32BE(1, 48);
      }),
    ),
  ),
  onSource(APP, 'a fourth section', 'number of sections', (module) =>
    takes(
      module,
      changed((bytes) => bytes.writeUInt32BE(4, 12)),
    ),
  ),
  onSource(APP, 'another version', 'version of a bundle', (module) =>
    takes(
      module,
      changed((bytes) => bytes.writeUInt32BE(2, 8)),
    ),
  ),
  onSource(APP, 'something in a field that means nothing', 'reserved is zero', (module) =>
    takes(
      module,
      changed((bytes) => bytes.writeUInt32BE(1, 20)),
    ),
  ),
  onSource(APP, 'something behind the last section', 'padding is zero', (module) =>
    takes(
      module,
      changed((bytes) => bytes.writeUInt8(1, bytes.length - 1)),
    ),
  ),
  onSource(DISK, 'two disks of one name', 'one disk of a name', async ({ findDisk }) => {
    const folder = await mkdtemp(join(tmpdir(), 'enclaim-sysfs-'));
    try {
      for (const name of ['vda', 'vdb']) {
        await mkdir(join(folder, name));
        for (const [file, text] of Object.entries({ serial: 'app', size: '8', ro: '1', uevent: '' }))
          await writeFile(join(folder, name, file), `${text}\n`);
      }
      return passes(() => findDisk('app', folder));
    } finally {
      await rm(folder, { recursive: true });
    }
  }),
  ...(
    [
      ['a word of ours that does not exist', 'unknown keys', 'enclaim.debug=1'],
      ['the policy stated twice', 'each key once', twice()],
      ['a quote that the kernel reads otherwise', 'no quotes', `a="b enclaim.policy=sha384:${'0'.repeat(96)} c"`],
      ['a policy of another form', 'form of a digest', `enclaim.policy=sha256:${'0'.repeat(64)}`],
      ['a command line without end', 'length of the command line', `x=${'y'.repeat(5000)}`],
      ['a letter that is none', 'printable text', 'x=\u00ff'],
    ] as const
  ).map(([name, layer, text]) =>
    onSource(LINE, name, layer, async ({ parseCommandLine }) => passes(() => parseCommandLine(text))),
  ),
];

function twice(): string {
  const digest = (digit: string): string => `enclaim.policy=sha384:${digit.repeat(96)}`;
  return `${digest('0')} ${digest('1')}`;
}
