/** Components: the packages that an image is made of, and which of its files come from which. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NODE_PACKAGE, NPM_DESCRIPTION } from '../contents.ts';
import { ImageError } from '../errors.ts';
import type { TarFiles } from '../formats/tar.ts';
import type { LockedInput } from '../inputs/lock.ts';
import type { Inputs } from '../inputs/unpack.ts';
import type { Origins } from '../programs/program-sources.ts';
import type { Component } from './component.ts';
import { debianLicence, npmLicence } from './licence.ts';
import type { ManifestContent, ManifestSection } from './manifest.ts';

/** The component that everything belongs to which is written or compiled here. */
const OWN = 'enclaim';

/** The sources that components are found in. */
export interface ComponentSources {
  readonly locked: readonly LockedInput[];
  readonly inputs: Inputs;
  readonly sections: readonly ManifestSection[];
  readonly contents: readonly ManifestContent[];
  readonly origins: Origins;
}

/**
 * The components of an image, sorted by package URL. Every file, link and section is in exactly one
 * of them.
 * @param root - Folder with our sources and `package-lock.json`.
 * @throws ImageError `file-missing` for a bundled package that npm's lock file does not have
 */
export async function componentsOf(root: string, sources: ComponentSources): Promise<Component[]> {
  const { locked, inputs, sections, contents, origins } = sources;
  const taken = [
    ...contents.filter(({ type }) => type !== 'directory').map(({ path, from }) => ({ path, from })),
    ...sections.map(({ name, from }) => ({ path: name, from })),
  ];
  const filesFrom = (input: string | null): string[] =>
    taken.filter(({ from }) => inputOf(locked, from) === input).map(({ path }) => path);
  const fetched = locked.map((input) => ({
    name: input.name,
    version: input.version,
    purl: purlOf(input),
    digest: inputDigest(input),
    licence: licenceOf(input, inputs.get(input.name)),
    files: filesFrom(input.name),
    bundledInto: [],
  }));
  const { version, license } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const own: Component = {
    name: OWN,
    version,
    purl: `pkg:generic/${OWN}@${version}`,
    digest: null,
    licence: npmLicence(license),
    files: filesFrom(null),
    bundledInto: [],
  };
  // A package that only reference values come from is no part of the image.
  const used = fetched.filter(({ files }) => files.length > 0);
  return [...used, own, ...nodeComponents(used), ...(await bundledComponents(root, origins))].sort((a, b) =>
    a.purl < b.purl ? -1 : 1,
  );
}

/** Whether a component is our own sources. */
export function isOwn({ name, digest }: Component): boolean {
  return name === OWN && digest === null;
}

/** Names in `process.versions` that are not libraries. */
const NO_LIBRARY: readonly string[] = ['node', 'modules', 'napi', 'cldr', 'tz', 'unicode'];

/**
 * Libraries inside Node's binary, as it names them itself. The Node that builds is the Node in the
 * image.
 */
function nodeComponents(used: readonly Component[]): Component[] {
  const node = used.find(({ name, version }) => name === NODE_PACKAGE && version === process.versions.node);
  return Object.entries(node === undefined ? {} : process.versions).flatMap(([name, version]) =>
    !version || NO_LIBRARY.includes(name) // empty: built without it
      ? []
      : [
          {
            name,
            version,
            purl: `pkg:generic/${quoted(name)}@${quoted(version)}`,
            digest: null,
            licence: null,
            files: [],
            bundledInto: node?.files ?? [],
          },
        ],
  );
}

/** Package URL (purl-spec) of a locked input. */
export function purlOf(input: LockedInput): string {
  if (input.kind === 'npm') return npmPurl(input.name, input.version);
  const architecture = /_([a-z0-9]+)\.deb$/.exec(input.path)?.[1] ?? '';
  return `pkg:deb/debian/${quoted(input.name)}@${quoted(input.version)}?arch=${architecture}&distro=${input.suite}`;
}

/** Digest of a locked input as fetched, `sha256:` or `sha512:` and hex. */
export function inputDigest(input: LockedInput): string {
  return input.kind === 'deb' ? `sha256:${input.sha256}` : integrityDigest(input.integrity);
}

/** `from` of a file names its input before a colon. */
function inputOf(locked: readonly LockedInput[], from: string): string | null {
  return locked.find(({ name }) => from.startsWith(`${name}: `))?.name ?? null;
}

function licenceOf(input: LockedInput, files: TarFiles | undefined): string | null {
  const read = (path: string): string | null => {
    const file = files?.get(path);
    return file?.type === 'file' ? Buffer.from(file.data).toString('utf8') : null;
  };
  if (input.kind === 'deb') return debianLicence(input.name, read(`usr/share/doc/${input.name}/copyright`));
  const description = read(NPM_DESCRIPTION);
  return description === null ? null : npmLicence(JSON.parse(description).license);
}

/**
 * Packages that esbuild took something from. npm has compared the installed files with
 * `package-lock.json`.
 */
async function bundledComponents(root: string, { programs }: Origins): Promise<Component[]> {
  const folders = new Map<string, Set<string>>();
  for (const [program, sources] of Object.entries(programs)) {
    for (const source of Object.keys(sources)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(source)?.[0];
      if (folder !== undefined) folders.set(folder, (folders.get(folder) ?? new Set()).add(program));
    }
  }
  if (folders.size === 0) return [];
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  return [...folders].map(([folder, into]) => {
    const found = packages[folder];
    if (typeof found?.integrity !== 'string')
      throw new ImageError('file-missing', `package-lock.json does not lock ${folder}`);
    const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const { version, integrity, license } = found;
    return {
      name,
      version,
      purl: npmPurl(name, version),
      digest: integrityDigest(integrity),
      licence: npmLicence(license),
      files: [],
      bundledInto: [...into].sort(),
    };
  });
}

function npmPurl(name: string, version: string): string {
  return `pkg:npm/${name.split('/').map(quoted).join('/')}@${quoted(version)}`;
}

/** Subresource integrity as a digest in hex. */
function integrityDigest(integrity: string): string {
  return `sha512:${Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex')}`;
}

function quoted(part: string): string {
  return encodeURIComponent(part).replaceAll('%3A', ':');
}
