/**
 * Plans a machine: compares a caller's wish with the files that it names, and describes what to
 * boot.
 */
import { access, constants, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Bundle, MAX_BUNDLE, parseBundle } from '@enclaim/attestation/bundle';
import { isDigestText, parseDigest, sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import type { Accelerator, BootSource, DiskSource, MachineDescription, Platform } from './arguments.ts';
import { MachineError } from './error.ts';

/** The machine itself. */
interface Hardware {
  /** Default `tpm`. */
  readonly platform?: Platform;
  /** Default `tcg`. */
  readonly accelerator?: Accelerator;
  readonly memoryMiB?: number;
  readonly cpus?: number;
}

/**
 * A machine with a boot disk, which holds everything else. Its contents are not read on this side.
 */
export interface DiskWish extends Hardware {
  readonly boot: DiskSource;
}

/** A machine with an app bundle: what boots and how. */
export interface MachineWish extends Hardware {
  /** Path of `app.enclaim`. */
  readonly app: string;
  readonly boot: BootSource;
  /** The image's command line, to which `enclaim.policy=` is appended. */
  readonly commandLine: string;
  /**
   * The policy digest that is measured at launch; by default that of the bundle's policy. The guest
   * refuses another one.
   */
  readonly policy?: `sha384:${string}`;
  /**
   * Whether the policy has sealed collections: with a state folder, a launch that could not open
   * their state is refused.
   */
  readonly isSealed?: boolean;
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
 * Reads the bundle, if there is one, and describes the machine.
 *
 * @throws MachineError `disk-missing` for a missing file, `bundle-invalid`, `unsupported` for a
 *   malformed policy digest.
 */
export async function planMachine(wish: MachineWish | DiskWish, place: RunPlace): Promise<MachineDescription> {
  const { platform = 'tpm', accelerator = 'tcg', memoryMiB = 1024, cpus = 2 } = wish;
  const boot = await present(wish.boot);
  return {
    ...{ platform, accelerator, memoryMiB, cpus, boot },
    ...('app' in wish ? await planApp(wish, place) : ON_DISK),
    tpmState: join(place.stateFolder, 'tpm'),
    runFolder: place.runFolder,
    port: place.port,
  };
}

type AppPlan = Pick<MachineDescription, 'commandLine' | 'app' | 'state' | 'policySha256' | 'policySha384'>;

/** A launch from a disk names no policy: the guest measures the one that it finds. */
const ON_DISK: AppPlan = {
  commandLine: null,
  app: null,
  state: null,
  policySha256: new Uint8Array(32),
  policySha384: new Uint8Array(48),
};

async function planApp({ app, commandLine, policy }: MachineWish, { stateFolder }: RunPlace): Promise<AppPlan> {
  const { policy: canonical } = await readAppBundle(app);
  const digest = policy ?? digestOfCanonical(canonical);
  if (!isDigestText('sha384', digest)) throw new MachineError('unsupported', `not a policy digest: ${digest}`);
  return {
    commandLine: launchCommandLine({ commandLine }, digest),
    app: resolve(app),
    state: join(stateFolder, 'state.img'),
    policySha256: sha256(canonical),
    policySha384: parseDigest('sha384', digest),
  };
}

/** An app bundle taken apart. @throws MachineError `disk-missing`, `bundle-invalid` */
export async function readAppBundle(app: string): Promise<Bundle> {
  const absent = (cause: unknown): never => {
    throw new MachineError('disk-missing', `cannot read the app bundle ${app}`, { cause });
  };
  const { size } = await stat(app).catch(absent);
  if (size > MAX_BUNDLE) throw new MachineError('bundle-invalid', `${app} has ${size} bytes, at most ${MAX_BUNDLE}`);
  const bytes = await readFile(app).catch(absent);
  try {
    return parseBundle(bytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MachineError('bundle-invalid', `${app} is not an app bundle: ${reason}`, { cause });
  }
}

/** Returns the source with absolute paths, all of them readable. */
async function present(boot: BootSource | DiskSource): Promise<BootSource | DiskSource> {
  const file = async (path: string): Promise<string> => {
    await access(path, constants.R_OK).catch((cause) => {
      throw new MachineError('disk-missing', `cannot read ${path}`, { cause });
    });
    return resolve(path);
  };
  if (boot.kind === 'uki') return { ...boot, uki: await file(boot.uki) };
  if (boot.kind === 'disk') return { ...boot, disk: await file(boot.disk) };
  return {
    ...boot,
    firmware: await file(boot.firmware),
    kernel: await file(boot.kernel),
    initrd: await file(boot.initrd),
  };
}
