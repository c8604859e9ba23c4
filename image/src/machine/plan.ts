/** What to boot: a caller's wish, held against the files that it names. */
import { createHash } from 'node:crypto';
import { access, constants, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { MAX_BUNDLE, parseBundle } from '@enclaim/attestation/bundle';
import type { Accelerator, BootSource, MachineDescription, Platform } from './arguments.ts';
import { MachineError } from './error.ts';

/** What boots and how. */
export interface MachineWish {
  /** Path of `app.enclaim`. */
  readonly app: string;
  readonly boot: BootSource;
  /** The image's command line, to which `enclaim.policy=` is appended. */
  readonly commandLine: string;
  /** The policy digest that is measured at launch; by default that of the bundle's policy. Another one is for the guest to refuse. */
  readonly policy?: `sha384:${string}`;
  /** Default `tpm`. */
  readonly platform?: Platform;
  /** Default `tcg`. */
  readonly accelerator?: Accelerator;
  readonly memoryMiB?: number;
  readonly cpus?: number;
}

/** Where a run happens. */
export interface RunPlace {
  /** A folder for this run only. */
  readonly runFolder: string;
  /** The folder of TPM and state disk. */
  readonly stateFolder: string;
  readonly port: number;
}

/**
 * Reads the bundle and describes the machine.
 *
 * @throws MachineError `disk-missing` for a file that is not there, `bundle-invalid`, `unsupported` for a malformed policy digest.
 */
export async function planMachine(wish: MachineWish, place: RunPlace): Promise<MachineDescription> {
  const { app, boot, commandLine, platform = 'tpm', accelerator = 'tcg', memoryMiB = 1024, cpus = 2 } = wish;
  const canonical = await readPolicy(app);
  const digest = wish.policy ?? `sha384:${createHash('sha384').update(canonical).digest('hex')}`;
  if (!/^sha384:[0-9a-f]{96}$/.test(digest)) throw new MachineError('unsupported', `not a policy digest: ${digest}`);
  return {
    platform,
    accelerator,
    boot: await present(boot),
    commandLine: `${commandLine} enclaim.policy=${digest}`,
    app: resolve(app),
    state: join(place.stateFolder, 'state.img'),
    tpmState: join(place.stateFolder, 'tpm'),
    runFolder: place.runFolder,
    port: place.port,
    policySha256: createHash('sha256').update(canonical).digest(),
    policySha384: Buffer.from(digest.slice('sha384:'.length), 'hex'),
    memoryMiB,
    cpus,
  };
}

async function readPolicy(app: string): Promise<Uint8Array> {
  const absent = (cause: unknown): never => {
    throw new MachineError('disk-missing', `cannot read the app bundle ${app}`, { cause });
  };
  const { size } = await stat(app).catch(absent);
  if (size > MAX_BUNDLE) throw new MachineError('bundle-invalid', `${app} has ${size} bytes, at most ${MAX_BUNDLE}`);
  const bytes = await readFile(app).catch(absent);
  try {
    return parseBundle(bytes).policy;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MachineError('bundle-invalid', `${app} is not an app bundle: ${reason}`, { cause });
  }
}

/** The same source with absolute paths, all of them readable. */
async function present(boot: BootSource): Promise<BootSource> {
  const file = async (path: string): Promise<string> => {
    await access(path, constants.R_OK).catch((cause) => {
      throw new MachineError('disk-missing', `cannot read ${path}`, { cause });
    });
    return resolve(path);
  };
  if (boot.kind === 'uki') return { ...boot, uki: await file(boot.uki) };
  return {
    ...boot,
    firmware: await file(boot.firmware),
    kernel: await file(boot.kernel),
    initrd: await file(boot.initrd),
  };
}
