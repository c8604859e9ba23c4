/** Debian's firmware for TDX under emulation: that it starts the image, with which command line, and what it measures. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { sha256, sha384 } from '../../attestation/src/digest.ts';
import { directRtmr0Events } from '../../attestation/src/measure/index.ts';
import { parseEventLog } from '../../attestation/src/tpm/index.ts';
import { buildImage } from '../../image/src/build/build.ts';
import { fileAt } from '../../image/src/formats/tar.ts';
import { fetchFirmware, projectRoot, readMachineLock } from '../../image/src/index.ts';
import { readDeb } from '../../image/src/inputs/deb.ts';
import { fetchLocked, findInputs, readLocked } from '../../image/src/inputs/fetch.ts';
import { readLock } from '../../image/src/inputs/lock.ts';
import { tdxReference } from '../../image/src/measure.ts';
import { writeImage } from '../../image/src/publish/image-folder.ts';
import { PROBE_ENTRIES, probe } from './probe.ts';

/** Types of events (TCG PC Client Platform Firmware Profile 1.06, table 14). */
const EV_EFI_VARIABLE_BOOT = 0x8000_0002;
const EV_EFI_HANDOFF_TABLES = 0x8000_0009;

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-firmware-'));
after(() => rm(scratch, { recursive: true, force: true }));

/** The build of the same source that measures into a TPM: what it shares with that for TDX is compared here. */
const generic = (await readMachineLock()).tests?.find(({ name }) => name === 'ovmf-generic');
assert.ok(generic);
/** Of a suite that moves on, and too large to lie among the sources. */
const [looked] = await findInputs([generic]);
const nowhere = looked?.found == null && `not run: input ${generic.name} ${generic.version} is nowhere`;
const GENERIC_FILE = 'usr/share/ovmf/OVMF.fd';

const image = await buildImage({ entries: PROBE_ENTRIES });
await writeImage(image, join(scratch, 'image'));
const [kernel = '', initrd = ''] = (['kernel', 'initrd'] as const).map((name) =>
  join(scratch, 'image', image.manifest.artefacts[name].file),
);
const lock = await readLock(join(projectRoot, 'image/lock.json'));

test('the build for TDX, without its keys, starts kernel and initrd with the line that references expect', async () => {
  const firmware = join(scratch, 'OVMF.fd');
  await writeFile(firmware, await fetchFirmware('tdx', lock));
  const reference = tdxReference(image.manifest.references.tdx, {
    memoryMiB: 1024,
    acpiTables: null,
    initrdWord: 'first',
  });
  const { commandLine, registers, log } = await probe({
    direct: { firmware, kernel, initrd },
    commandLine: reference.commandLine,
  });
  assert.equal(commandLine, `${reference.commandLineStart}${reference.commandLine}${reference.commandLineEnd}`);
  // Outside of a TD it measures nothing, so that its own log cannot be compared.
  assert.deepEqual([log, Number(registers[1])], ['', 0]);
});

test('a build of its source measures what references expect, event by event, as far as the two share it', {
  skip: nowhere,
}, async () => {
  const locked = lock.inputs.find(({ name }) => name === 'ovmf-inteltdx');
  assert.ok(locked?.kind === 'deb' && locked.version === generic.version, 'the same source');
  const firmware = join(scratch, 'generic.fd');
  const deb = await readLocked(generic, await fetchLocked([generic]));
  await writeFile(firmware, fileAt(await readDeb(deb), GENERIC_FILE).data);
  const { log } = await probe({ direct: { firmware, kernel, initrd }, commandLine: 'console=ttyS0' });
  const measured = parseEventLog(Buffer.from(log, 'base64')).events;
  const last = measured.findIndex(({ untrusted }) => String(Buffer.from(untrusted.data)).startsWith('Calling EFI'));

  const { regions } = image.manifest.references.tdx.firmware;
  const known = { mrtd: new Uint8Array(), cfv: new Uint8Array(), edition: '202505', secureBoot: [], regions } as const;
  const expected = directRtmr0Events(known, { memory: 2 ** 30, acpiTables: null });
  const kinds: Readonly<Record<string, number>> = { SMBIOS: EV_EFI_HANDOFF_TABLES };
  const shared = expected.filter(({ name }) => name === 'SMBIOS' || name.startsWith('Boot'));
  assert.deepEqual(
    shared.map(({ name }) => name),
    ['SMBIOS', 'BootOrder', 'Boot0000', 'Boot0001'],
  );
  for (const [index, { name, digest }] of shared.entries()) {
    const event = measured[last - shared.length + index] ?? assert.fail(name);
    assert.deepEqual([event.register, event.untrusted.type], [1, kinds[name] ?? EV_EFI_VARIABLE_BOOT], name);
    if (digest === null) continue;
    // The log is of another hash: what it says of the variable is compared by its contents.
    const contents = variableData(event.untrusted.data);
    assert.deepEqual(Buffer.from(event.digests.get('sha256') ?? []), Buffer.from(sha256(contents)), name);
    assert.deepEqual(Buffer.from(digest), Buffer.from(sha384(contents)), name);
  }
});

/** UEFI_VARIABLE_DATA: GUID, lengths of name and data, name, data. */
function variableData(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return bytes.subarray(32 + 2 * Number(view.getBigUint64(16, true)));
}
