/** Attacks on copies of a state disk: a file or a moment that is passed off as another one. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { encodeRecovery, type RecoveryDocument, type RecoveryFile, signRecovery } from '@enclaim/attestation/recovery';
import { ed25519Key } from '@enclaim/attestation/statement';
import { noteLaunch } from '@enclaim/image/machine';
import type { Policy } from '@enclaim/policy-schema/admission';
import type * as exportModule from '../../cli/src/state/export.ts';
import type * as importModule from '../../cli/src/state/import.ts';
import type * as lockModule from '../../image/src/machine/state-lock.ts';
import type { RecordLog } from '../../runtime/src/log/record-log.ts';
import type * as recoveriesModule from '../../runtime/src/storage/sealed/recoveries.ts';
import { put, Rig } from '../../runtime/test/sealed/support.ts';
import { framed, packed, type StateParts } from '../support/state-file.ts';
import type { Attack } from './attack.ts';
import { weakened } from './weakened.ts';

const EXPORT = 'cli/src/state/export.ts';
const IMPORT = 'cli/src/state/import.ts';
const RECOVERIES = 'runtime/src/storage/sealed/recoveries.ts';
const LOCK = 'image/src/machine/state-lock.ts';
const BLOCK_BYTES = 1024 * 1024;
const LAUNCH = { image: `sha256:${'1'.repeat(64)}`, commandLine: 'quiet' } as const;

/** A folder with a state, and its honest file. */
async function inLab<T>(work: (lab: { folder: string; file: string; root: string }) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), 'enclaim-state-attack-'));
  const [folder, file] = [join(root, 'state'), join(root, 'file')];
  try {
    await mkdir(folder);
    const rig = await Rig.boot();
    for (let i = 0; i < 5; i++) await rig.call([put(`${i}`, 'x')]);
    await rig.store.close();
    await writeFile(join(folder, 'state.img'), rig.disk.bytes);
    await noteLaunch(folder, LAUNCH);
    const { exportState } = (await import('../../cli/src/state/export.ts')) as typeof exportModule;
    await exportState(folder, file);
    return await work({ folder, file, root });
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Whether an import takes a file. */
function takes(make: (honest: StateParts, lab: { file: string; folder: string }) => Uint8Array | Promise<Uint8Array>) {
  return (off: readonly string[]): Promise<boolean> =>
    inLab(async (lab) => {
      const forged = join(lab.root, 'forged');
      await writeFile(forged, await make(await framed(lab.file), lab));
      const { importState } = (await import(weakened(IMPORT, { off }))) as typeof importModule;
      return await importState(forged, join(lab.root, 'to'), {}).then(
        () => true,
        () => false,
      );
    });
}

/** Blocks of random bytes, which do not pack. */
const longer = (bytes: Uint8Array): Uint8Array => deflateRawSync(bytes, { level: 0 });

/** Files that must not be taken, by the layer that refuses them. */
const FILES: Readonly<Record<string, readonly [string, (off: readonly string[]) => Promise<boolean>]>> = {
  'hash of an exported state': [
    'have a file taken that was changed on its way',
    takes((honest) => packed({ ...honest, hash: new Uint8Array(32) })),
  ],
  'blocks of an exported state in their order': [
    'write a block over and over',
    takes(({ header, blocks }) =>
      packed({ header: { ...header, blocks: blocks.length * 2 }, blocks: [...blocks, ...blocks] }),
    ),
  ],
  'blocks of an exported state are bounded': [
    'have a block read that is longer than any',
    takes((honest) => packed({ ...honest, pack: longer })),
  ],
  'header of an exported state': [
    'say that a state is of another epoch than it is',
    takes(({ header, blocks }) => packed({ header: { ...header, epochs: [9, 9] }, blocks })),
  ],
  'snapshots of a disk': [
    'pass a snapshot off as the newest state',
    takes(({ header, blocks }) => packed({ header: { ...header, source: 'disk' }, blocks })),
  ],
};

/** Whether a file is taken whose log ends before what was seen of it. */
const older = (off: readonly string[]): Promise<boolean> =>
  inLab(async ({ file, root }) => {
    const { importState } = (await import(weakened(IMPORT, { off }))) as typeof importModule;
    return await importState(file, join(root, 'to'), { known: [{ size: 6, root: new Uint8Array(32) }] }).then(
      () => true,
      () => false,
    );
  });

/** Whether an unpacking takes much more memory than a block has. */
const bomb = (off: readonly string[]): Promise<boolean> =>
  inLab(async ({ file, root }) => {
    const { header } = await framed(file);
    const forged = join(root, 'forged');
    await writeFile(forged, packed({ header, blocks: [[0, new Uint8Array(8 * BLOCK_BYTES).fill(1)]] }));
    const { importState } = (await import(weakened(IMPORT, { off }))) as typeof importModule;
    const error = await importState(forged, join(root, 'to'), {}).catch((cause: Error) => cause);
    return /fewer bytes/.test(String(error));
  });

/** Whether blocks are written where the file says that they have no room. */
const fills = (off: readonly string[]): Promise<boolean> =>
  inLab(async ({ file, root }) => {
    const { header, blocks } = await framed(file);
    const forged = join(root, 'forged');
    await writeFile(forged, packed({ header: { ...header, blocks: 2 ** 40 }, blocks }));
    const { importState } = (await import(weakened(IMPORT, { off }))) as typeof importModule;
    const error = await importState(forged, join(root, 'to'), {}).catch((cause: Error) => cause);
    return !/less room/.test(String(error));
  });

/** Whether a disk is exported while a program writes it that takes no lock. */
const torn = (off: readonly string[]): Promise<boolean> =>
  inLab(async ({ folder, root }) => {
    const { exportState } = (await import(weakened(EXPORT, { off }))) as typeof exportModule;
    const to = join(root, 'torn');
    let isOver = false;
    const writing = (async () => {
      await using disk = await open(join(folder, 'state.img'), 'r+');
      // The last bytes of a slot, of which nothing is read.
      for (let i = 0; !isOver; i++) await disk.write(Buffer.of(i), 0, 1, 2 * BLOCK_BYTES - 1);
    })();
    const done = await exportState(folder, to).then(
      () => true,
      () => false,
    );
    isOver = true;
    await writing;
    return done;
  });

/** Whether a disk is taken for one that no machine runs on, although the kernel lists a lock of it. */
const locked = (off: readonly string[]): Promise<boolean> =>
  inLab(async ({ folder, root }) => {
    const { refuseLockedDisk } = (await import(weakened(LOCK, { off }))) as typeof lockModule;
    const [disk, locks] = [join(root, 'disk'), join(root, 'locks')];
    await copyFile(join(folder, 'state.img'), disk);
    await writeFile(locks, `1: OFDLCK ADVISORY  READ -1 08:01:${(await stat(disk)).ino} 100 101\n`);
    return await refuseLockedDisk(disk, { locks, mounts: join(root, 'nowhere') }).then(
      () => true,
      () => false,
    );
  });

const key = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
const [FIRST, SECOND, STRANGER] = [key(), key(), key()];
const nameOf = (one: KeyObject) => ed25519Key(Buffer.from(String(one.export({ format: 'jwk' }).x), 'base64url'));
const POLICY = `sha384:${'1'.repeat(96)}` as const;
const RULE = {
  succession: { signers: [nameOf(FIRST), nameOf(SECOND)], threshold: 2, notice: 'P7D' },
} as const;
const ROOT = digestText('sha256', sha256(new Uint8Array(1)));
const DOCUMENT: RecoveryDocument = { policy: POLICY, epoch: 4, log: { size: 7, root: ROOT } };

/** A recovery that keys have signed. */
function recovery(document: RecoveryDocument, ...keys: readonly KeyObject[]): Uint8Array {
  const begin: RecoveryFile = { enclaim: 'recovery/1', document, signatures: [] };
  return encodeRecovery(
    keys.reduce((file, one) => signRecovery(file, nameOf(one), (bytes) => sign(null, bytes, one)), begin),
  );
}

/** Whether a boot of the policy says that a disk was recovered, which has a log of seven records. */
function states(bytes: Uint8Array) {
  return async (off: readonly string[]): Promise<boolean> => {
    const { recoveriesUnder, recoveryOn } = (await import(weakened(RECOVERIES, { off }))) as typeof recoveriesModule;
    const log = {
      state: { readRecovery: async () => bytes },
      durable: { size: 7, root: sha256(new Uint8Array(1)) },
    } as unknown as RecordLog;
    return await recoveryOn(log, 4, recoveriesUnder(POLICY, RULE as unknown as Policy)).then(
      (digest) => digest !== undefined,
      () => false,
    );
  };
}

/** Whether an heir goes on with an older copy that signers have stated, and says nothing of it. */
async function inheritsUnsaid(off: readonly string[]): Promise<boolean> {
  const { recoveryBefore } = (await import(weakened(RECOVERIES, { off }))) as typeof recoveriesModule;
  const state = { readRecovery: async () => recovery(DOCUMENT, FIRST, SECOND) };
  return await recoveryBefore({ state } as unknown as RecordLog, DOCUMENT.epoch, undefined).then(
    () => true,
    () => false,
  );
}

function attackOf(layer: string, name: string, act: (off: readonly string[]) => Promise<boolean>): Attack {
  return { group: 'backup', name, layer, attempt: () => act([]), control: () => act([layer]) };
}

/** Every attack on copies of a state disk. */
export const backupAttacks: readonly Attack[] = [
  ...Object.entries(FILES).map(([layer, [name, act]]) => attackOf(layer, name, act)),
  attackOf(
    'signatures of a recovery',
    'say that signers gave records up, with one signature and a stranger’s',
    states(recovery(DOCUMENT, FIRST, STRANGER)),
  ),
  attackOf('signatures of a recovery', 'say that signers gave records up', states(recovery(DOCUMENT))),
  attackOf(
    'policy of a recovery',
    'use what signers stated under another policy',
    states(recovery({ ...DOCUMENT, policy: `sha384:${'2'.repeat(96)}` }, FIRST, SECOND)),
  ),
  attackOf(
    'disks of a recovery',
    'use what signers stated of another disk',
    states(recovery({ ...DOCUMENT, log: { size: 8, root: ROOT } }, FIRST, SECOND)),
  ),
  attackOf('recoveries that an heir would not state', 'go on with an older copy by a succession', inheritsUnsaid),
  attackOf('audit of an imported disk', 'bring a log back that ends before what was seen of it', older),
  attackOf('unpacked blocks are bounded', 'have a small file unpack to a large block', bomb),
  attackOf('room for an exported state', 'fill a disk with a file of endless blocks', fills),
  attackOf('disks that change while they are read', 'export a disk that is being written', torn),
  attackOf('locks of a disk', 'export the disk of a machine that runs', locked),
];
