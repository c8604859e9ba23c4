/** Debian's firmware for TDX under emulation: that it starts the image, and with which command line. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildImage, readLock } from '../../image/src/build.ts';
import { writeImage } from '../../image/src/image-folder.ts';
import { fetchFirmware, projectRoot } from '../../image/src/index.ts';
import { tdxReference } from '../../image/src/measure.ts';
import { PROBE_ENTRIES, probe } from './probe.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-firmware-'));
after(() => rm(scratch, { recursive: true, force: true }));

test('the build for TDX, without its keys, starts kernel and initrd with the line that references expect', async () => {
  const image = await buildImage({ entries: PROBE_ENTRIES });
  await writeImage(image, join(scratch, 'image'));
  const firmware = join(scratch, 'OVMF.fd');
  await writeFile(firmware, await fetchFirmware('tdx', await readLock(join(projectRoot, 'image/lock.json'))));
  const [kernel, initrd] = (['kernel', 'initrd'] as const).map((name) =>
    join(scratch, 'image', image.manifest.artefacts[name].file),
  );
  const direct = { firmware, kernel: kernel ?? '', initrd: initrd ?? '' };
  const reference = tdxReference(image.manifest.references.tdx, {
    memoryMiB: 1024,
    acpiTables: null,
    initrdWord: 'first',
  });
  const { commandLine } = await probe({ direct, commandLine: reference.commandLine });
  assert.equal(commandLine, `${reference.commandLineStart}${reference.commandLine}${reference.commandLineEnd}`);
});
