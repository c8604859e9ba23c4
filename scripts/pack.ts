/**
 * `node scripts/pack.ts [FOLDER]`: packs what is published as npm tarballs, by default into
 * `out/packages`: JavaScript with declarations, made from the sources as they are.
 *
 * Nothing in the repository runs from them. Its own package.json files lead to the sources, and
 * those of the tarballs are made here.
 */

import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { handlerTypes } from '../cli/src/gen.ts';
import { manualPage } from '../cli/src/manual/roff.ts';
import { makeProgram } from '../cli/src/program.ts';
import { root } from './imports.ts';

/** A tarball that was made. */
export interface Packed {
  readonly name: string;
  readonly tarball: string;
  /** Bytes of the files in it. */
  readonly unpackedSize: number;
  readonly files: number;
}

/** A room that is a package of its own, with its public sub-paths. */
interface Room {
  readonly description: string;
  readonly public: readonly string[];
}

const ROOMS: Readonly<Record<string, Room>> = {
  'policy-schema': {
    description: 'Policies of Enclaim: grammar, digest, matching, comparison, demands',
    public: ['.', './cedar', './claims', './proto/*'],
  },
  attestation: {
    description: 'Evidence of SEV-SNP, TDX, TPM, Nitro and clouds: verification, appraisal, measurement',
    public: [
      '.',
      './azure',
      './gcp',
      './measure',
      './nitro',
      './rats',
      './record',
      './scitt',
      './snp',
      './tdx',
      './tlog',
      './tpm',
    ],
  },
  client: {
    description: 'A gRPC client that verifies quote, image and policy before it sends',
    public: ['.', './log', './network', './offline', './proof', './proxy', './secrets', './witness'],
  },
};
/** Rooms that only the command needs: their files are part of its package. */
const CARRIED = ['cli', 'image', 'runtime', 'guest', 'evidence'];
/** The manual page of the command, which npm puts where `man` finds it. */
const MANUAL = 'enclaim.1';
/** Files that the command reads beside its code. */
const READ_BY_COMMAND = ['image/lock.json', 'image/machine.lock.json', 'cli/package.json'];

/**
 * The engines of the packages that clients and auditors run, which need nothing of the VM
 * (test/node22).
 */
const ENGINES = { node: '>=22.23' };

const NPM = join(root, 'scripts/bootstrap/node_modules/npm/bin/npm-cli.js');
const TSC = join(root, 'node_modules/typescript/bin/tsc');
const { version, license, engines } = await packageOf('.');

interface PackageJson {
  readonly version: string;
  readonly license: string;
  readonly engines: object;
  readonly exports?: Readonly<Record<string, string>>;
  readonly imports?: object;
  readonly dependencies?: Readonly<Record<string, string>>;
}

async function packageOf(folder: string): Promise<PackageJson> {
  return JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'));
}

/** Entries of the rooms by the name that sources import them under. */
const entries = new Map<string, { readonly room: string; readonly path: string; readonly file: string }>();
for (const room of [...Object.keys(ROOMS), ...CARRIED]) {
  for (const [path, file] of Object.entries((await packageOf(room)).exports ?? {}))
    entries.set(`@enclaim/${room}${path.slice(1)}`, { room, path, file: join(room, file) });
}

/** The paths of a room's package that anyone may import; its other paths are internal. */
export const publicPaths = (room: string): readonly string[] => ROOMS[room]?.public ?? [];

/** Packs everything into a folder. */
export async function packAll(folder: string): Promise<Packed[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'enclaim-pack-'));
  try {
    const emitted = join(scratch, 'emitted');
    await emit(emitted);
    const made = await Promise.all([
      ...Object.keys(ROOMS).map((room) => layRoom(room, emitted, join(scratch, room))),
      layApp(join(scratch, 'app')),
      layCommand(emitted, join(scratch, 'enclaim')),
    ]);
    await mkdir(folder, { recursive: true });
    return tarballsOf(made, folder);
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Has the compiler write JavaScript and declarations of every room, below `out`. */
async function emit(out: string): Promise<void> {
  const rooms = [...Object.keys(ROOMS), ...CARRIED];
  const options = {
    // Node 22 has no `using`.
    ...{ noEmit: false, noCheck: true, declaration: true, target: 'es2024', rewriteRelativeImportExtensions: true },
    ...{ rootDir: root, outDir: out, typeRoots: [join(root, 'node_modules/@types')] },
  };
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: options,
    include: rooms.map((room) => join(root, room, 'src/**/*.ts')),
    exclude: [],
  };
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(process.execPath, [TSC, '-p', join(out, 'tsconfig.json')], { stdio: 'inherit' });
  await rm(join(out, 'tsconfig.json'));
  // Code that was generated as JavaScript.
  for (const file of globSync(`{${rooms.join(',')}}/src/gen/**/*_pb.{js,d.ts}`, { cwd: root })) {
    await mkdir(dirname(join(out, file)), { recursive: true });
    await cp(join(root, file), join(out, file));
  }
}

/** Lays out the package of a room. @returns its folder */
async function layRoom(room: string, emitted: string, folder: string): Promise<string> {
  const { exports = {}, imports, dependencies = {} } = await packageOf(room);
  for (const file of globSync(`${room}/src/**/*.{js,d.ts}`, { cwd: emitted }))
    await write(
      join(folder, relative(room, file)),
      rewritten(await readFile(join(emitted, file), 'utf8'), file, false),
    );
  const lead = Object.entries(exports).map(([path, file]) => [publicPath(room, path), targetsOf(file)]);
  if (exports['./proto/*'] !== undefined)
    await cp(join(root, room, 'proto'), join(folder, 'proto'), { recursive: true });
  await describe(room, folder, {
    name: `@enclaim/${room}`,
    description: ROOMS[room]?.description,
    engines: ENGINES,
    sideEffects: false,
    exports: { ...Object.fromEntries(lead), './package.json': './package.json' },
    ...(imports === undefined ? {} : { imports: JSON.parse(JSON.stringify(imports).replaceAll('.ts"', '.js"')) }),
    dependencies,
  });
  return folder;
}

/** Lays out the types that handlers have, whatever their app. */
async function layApp(folder: string): Promise<string> {
  // Types of an app without methods: what is left is every app's. A class that is global, and what
  // collections hold, are declared once, by the app that has them.
  const types = handlerTypes({ exposed: [], outbound: [], stored: new Map() }, {
    declassify: [],
    evidence: { events: [] },
  } as never);
  // Their policy names the events.
  const shared = types
    .replace('EventName = never', 'EventName = string')
    .slice(types.indexOf('export type Json'), types.indexOf('/** The handlers of every method'))
    .replace(/declare global \{.*?\n\}\n\n/s, '')
    .replace(/\/\*\*\n(?: \*[^\n]*\n)+export interface Records .*?\nexport type Held<[^\n]*\n\n/s, '');
  await write(join(folder, 'index.d.ts'), `/** Types that every handler of Enclaim has in reach. */\n\n${shared}`);
  await write(join(folder, 'index.js'), 'export {};\n');
  await describe('app', folder, {
    name: '@enclaim/app',
    description: 'Types for handlers of Enclaim',
    engines: ENGINES,
    sideEffects: false,
    exports: { '.': { types: './index.d.ts', default: './index.js' }, './package.json': './package.json' },
  });
  return folder;
}

/**
 * Lays out the command: as much of the rooms that are not packages as it reaches, at their places,
 * since programs that it starts are found by them.
 */
async function layCommand(emitted: string, folder: string): Promise<string> {
  const queue = ['cli/src/main.js'];
  const dependencies = new Map<string, string>();
  const reached = new Set<string>();
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    const text = rewritten(await readFile(join(emitted, file), 'utf8'), file, true);
    await write(join(folder, file), text);
    for (const [, target = ''] of text.matchAll(/(?:from |import |import\(|dirname, )'(\.?[^']*\.js)'/g)) {
      const path = relative(root, resolve(root, dirname(file), target));
      if (CARRIED.includes(path.split('/')[0] ?? '')) queue.push(path);
    }
  }
  for (const room of CARRIED)
    for (const [name, wanted] of Object.entries((await packageOf(room)).dependencies ?? {}))
      if (!CARRIED.includes(name.replace('@enclaim/', ''))) dependencies.set(name, wanted);
  for (const file of READ_BY_COMMAND) await write(join(folder, file), await readFile(join(root, file), 'utf8'));
  await write(join(folder, 'cli/package.json'), JSON.stringify({ version, type: 'module' }));
  await write(join(folder, MANUAL), manualPage(await makeProgram(), version));
  await describe('enclaim', folder, {
    name: 'enclaim',
    description: 'Policies that a running system cannot exceed, and the evidence for it',
    bin: { enclaim: 'cli/src/main.js' },
    man: [`./${MANUAL}`],
    exports: { './package.json': './package.json' },
    dependencies: Object.fromEntries([...dependencies].sort()),
  });
  return folder;
}

/**
 * A file as it stands in a package: imports lead to JavaScript, and to the names that the packages
 * have.
 * @param carried whether rooms that are no packages lie beside it
 */
function rewritten(text: string, file: string, carried: boolean): string {
  return text
    .replaceAll(/((?:from|import) |import\()(['"])([^'"]+)\2/g, (_all, before, _quote, specifier: string) => {
      return `${before}'${leadsTo(specifier, file, carried)}'`;
    })
    .replaceAll(/(import\.meta\.dirname, '[^']+)\.ts'/g, "$1.js'");
}

function leadsTo(specifier: string, file: string, carried: boolean): string {
  if (specifier.startsWith('.')) return specifier.replace(/(?<!\.d)\.ts$/, '.js');
  const entry = entries.get(specifier);
  if (entry === undefined) {
    if (specifier.startsWith('@enclaim/')) throw new Error(`${file}: ${specifier} is no entry`);
    return specifier;
  }
  if (ROOMS[entry.room] !== undefined) return `@enclaim/${entry.room}${publicPath(entry.room, entry.path).slice(1)}`;
  if (!carried) throw new Error(`${file}: ${specifier} is not published`);
  const path = relative(dirname(file), entry.file.replace(/\.ts$/, '.js'));
  return path.startsWith('.') ? path : `./${path}`;
}

/** The sub-path of an entry: what is not public says so in its name. */
function publicPath(room: string, path: string): string {
  return ROOMS[room]?.public.includes(path) ? path : `./internal/${path.slice(2)}`;
}

function targetsOf(file: string): string | object {
  if (!file.endsWith('.ts')) return file;
  const base = file.slice(0, -'.ts'.length);
  return { types: `${base}.d.ts`, default: `${base}.js` };
}

async function describe(readme: string, folder: string, fields: object): Promise<void> {
  await cp(join(root, 'scripts/packages', `${readme}.md`), join(folder, 'README.md'));
  await cp(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  const top = globSync('*', { cwd: folder }).filter((name) => name !== 'package.json');
  const { name, description, ...rest } = fields as { name: string; description: string };
  const content = { name, version, description, license, type: 'module', engines, files: top.sort(), ...rest };
  await write(join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

function tarballsOf(folders: readonly string[], out: string): Packed[] {
  const words = [NPM, 'pack', '--json', '--ignore-scripts', '--pack-destination', resolve(out), ...folders];
  const said = execFileSync(process.execPath, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const made: unknown = JSON.parse(said);
  const list = Object.values(made as object) as {
    name: string;
    filename: string;
    unpackedSize: number;
    entryCount: number;
  }[];
  return list.map(({ name, filename, unpackedSize, entryCount }) => {
    return { name, tarball: join(resolve(out), filename), unpackedSize, files: entryCount };
  });
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

if (import.meta.main) {
  for (const { name, tarball, unpackedSize, files } of await packAll(process.argv[2] ?? join(root, 'out/packages')))
    console.log(`${name.padEnd(24)} ${files} files, ${Math.ceil(unpackedSize / 1024)} KiB  ${relative('.', tarball)}`);
}
