/** What tests need of the machine that they run on. They ask here and nowhere else, and say what they were not run for. */

import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Real vectors of others: they lie beside a checkout, and not beside every one. */
export const VECTORS: string = join(import.meta.dirname, '../../../shared/vectors');
/** Debian's own interpreter, which has Debian's grpcio. */
export const PYTHON = '/usr/bin/python3';
/** The npm that is pinned. */
export const NPM: string = join(import.meta.dirname, '../../scripts/bootstrap/node_modules/npm/bin/npm-cli.js');
/** The browser that tests drive. */
export const CHROMIUM = '/usr/bin/chromium';

interface Capability {
  /** Whether it is here. */
  readonly here: () => boolean;
  /** What is said where it is not. */
  readonly lacks: string;
  /** Whether every machine that decides (`CI=true`) has it: there, a test that is not run for it fails the run. */
  readonly decides: boolean;
}

const isRoot = process.getuid?.() === 0;

/** The namespaces of an audit's build (image/src/audit/sandbox.ts). */
const ALONE = ['--net', '--ipc', '--mount', '--pid', '--fork', '--mount-proc', 'true'];

/** Something that not every machine has. */
export type Need =
  | 'root'
  | 'a root that is a mount'
  | 'user namespaces'
  | 'namespaces of a build'
  | 'network namespaces'
  | 'browser'
  | "python's gRPC"
  | "python's venv"
  | 'go'
  | 'cargo'
  | 'maven'
  | 'vectors'
  | 'sev-snp-measure'
  | 'sgdisk'
  | 'sfdisk'
  | 'fsck.fat'
  | 'mandoc'
  | 'mtools'
  | 'qemu-img'
  | 'npm registry';

const CAPABILITIES: Readonly<Record<Need, Capability>> = {
  // With its rights: what is root of a namespace alone, or has laid them down, becomes no other user.
  root: {
    here: () => isRoot && works('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'true'),
    lacks: 'needs root',
    decides: true,
  },
  'a root that is a mount': {
    here: () =>
      readFileSync('/proc/self/mountinfo', 'latin1')
        .split('\n')
        .some((line) => line.split(' ')[4] === '/'),
    lacks: 'needs a root that is a mount, not a chroot',
    decides: true,
  },
  'user namespaces': {
    here: () => works('unshare', '-rm', 'sh', '-c', 'mount -t tmpfs none /mnt'),
    lacks: 'no user namespaces to mount a small disk in',
    decides: true,
  },
  'namespaces of a build': {
    here: () => works('unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), ...ALONE),
    lacks: 'no namespaces to shut a build in',
    decides: true,
  },
  'network namespaces': {
    here: () => isRoot && works('unshare', '--net', 'ip', 'link', 'add', 'eth0', 'type', 'veth'),
    lacks: 'needs root, network namespaces and iproute2',
    decides: true,
  },
  browser: { here: () => existsSync(CHROMIUM), lacks: 'Chromium is not installed', decides: true },
  "python's gRPC": {
    here: () => works(PYTHON, '-c', 'import grpc'),
    lacks: "Debian's python3-grpcio is not installed",
    decides: true,
  },
  // What builds clients of other languages (scripts/test-engines), which is not among what decides.
  "python's venv": {
    here: () => works(PYTHON, '-c', 'import ensurepip, ssl, venv'),
    lacks: "Debian's python3-venv is not installed",
    decides: false,
  },
  go: { here: () => works('go', 'version'), lacks: 'Go is not on the path', decides: false },
  cargo: { here: () => works('cargo', '--version'), lacks: 'cargo is not on the path', decides: false },
  maven: {
    here: () => works('mvn', '--version') && works('javac', '--version'),
    lacks: 'Maven and javac are not on the path',
    decides: false,
  },
  vectors: { here: () => existsSync(VECTORS), lacks: 'no vectors', decides: false },
  // A package of Python's: neither Debian nor npm carries it.
  'sev-snp-measure': {
    here: () => works('sev-snp-measure', '--version'),
    lacks: 'sev-snp-measure is not installed',
    decides: false,
  },
  sgdisk: tool('sgdisk'),
  sfdisk: tool('sfdisk'),
  'fsck.fat': tool('fsck.fat'),
  mandoc: tool('mandoc'),
  mtools: tool('mdir'),
  'qemu-img': tool('qemu-img'),
  // A checkout is set up from a cache, too.
  'npm registry': {
    here: () => works(process.execPath, NPM, 'view', 'zod', 'version', '--prefer-online', '--fetch-retries=0'),
    lacks: 'no npm registry to install packages from',
    decides: false,
  },
};

/** A program that `scripts/setup --tests` installs. */
function tool(name: string): Capability {
  return { here: () => works('sh', '-c', `command -v ${name}`), lacks: `${name} is not installed`, decides: true };
}

function works(program: string, ...args: readonly string[]): boolean {
  const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
  return spawnSync(program, args, { env: { ...process.env, PATH } }).status === 0;
}

const PREFIX = 'not run: ';
const looked = new Map<Need, boolean>();

/** Options of a test, suite or hook: with the reason why it is not run, where one of these is missing. */
export function needs(...wanted: readonly Need[]): { readonly skip: string | false } {
  const missing = wanted.find((need) => {
    const here = looked.get(need) ?? CAPABILITIES[need].here();
    looked.set(need, here);
    return !here;
  });
  return { skip: missing !== undefined && PREFIX + CAPABILITIES[missing].lacks };
}

/** Whether a machine that decides may leave something out for this reason, as {@link needs} gives it. */
export function mayLack(reason: string): boolean {
  return Object.values(CAPABILITIES).some(({ lacks, decides }) => !decides && reason === PREFIX + lacks);
}

/** Where programs of `scripts/test` that are not tests leave what they did not run: a line each, `REASON\tWHAT`. */
const list = (): string | undefined => process.env.ENCLAIM_TEST_NOT_RUN;

/** Adds something to what `scripts/test` says at its end. */
export function sayNotRun(what: string, reason: string): void {
  const file = list();
  if (file !== undefined) appendFileSync(file, `${reason}\t${what}\n`);
}

/** What was left there. */
export function saidNotRun(): { readonly what: string; readonly reason: string }[] {
  const file = list();
  const text = file !== undefined && existsSync(file) ? readFileSync(file, 'utf8') : '';
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => ({ reason: line.split('\t')[0] ?? '', what: line.split('\t')[1] ?? '' }));
}
