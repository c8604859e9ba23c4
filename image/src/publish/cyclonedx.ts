/**
 * The bill of materials of an image as CycloneDX 1.7 (ECMA-424), JSON: a function of its manifest,
 * without times.
 */
import { createHash } from 'node:crypto';
import type { Component } from '../describe/component.ts';
import { isOwn } from '../describe/components.ts';
import type { Manifest } from '../describe/manifest.ts';

/** The document. The same bytes for the same manifest. */
export function cyclonedx(manifest: Manifest): string {
  const { id, artefacts, components } = manifest;
  const image = {
    type: 'operating-system',
    'bom-ref': id,
    name: 'enclaim-base-image',
    version: ownVersion(components),
    hashes: [hashOf(id)],
    properties: [{ name: 'enclaim:file', value: artefacts.uki.file }],
  };
  const digests = fileDigests(manifest);
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.7.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.7',
    serialNumber: `urn:uuid:${uuidOf(id)}`,
    version: 1,
    metadata: { component: image },
    components: components.map((component) => componentOf(component, digests)),
    dependencies: [
      { ref: id, dependsOn: components.filter(({ files }) => files.length > 0).map(({ purl }) => purl) },
      ...components.map((component) => ({ ref: component.purl, dependsOn: bundledFrom(component, components) })),
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Digests of files, links and sections by name. */
export function fileDigests({ contents, sections }: Manifest): ReadonlyMap<string, string> {
  return new Map([
    ...contents.flatMap(({ path, sha256 }) => (sha256 === null ? [] : [[path, sha256] as const])),
    ...sections.map(({ name, sha256 }) => [name, sha256] as const),
  ]);
}

/** Package URLs of what is bundled into files of a component. */
export function bundledFrom({ files }: Component, components: readonly Component[]): string[] {
  return components
    .filter(({ bundledInto }) => bundledInto.some((program) => files.includes(program)))
    .map(({ purl }) => purl);
}

/** Version of our own sources. */
export function ownVersion(components: readonly Component[]): string {
  return components.find(isOwn)?.version ?? '0';
}

/** A UUID (version 8, RFC 9562) that follows from a text: the same image has the same documents. */
export function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function componentOf(component: Component, digests: ReadonlyMap<string, string>): object {
  const { name, version, purl, digest, licence, files, bundledInto } = component;
  return {
    type: bundledInto.length > 0 ? 'library' : 'application',
    'bom-ref': purl,
    name,
    version,
    ...(digest === null ? {} : { hashes: [hashOf(digest)] }),
    ...(licence === null ? {} : { licenses: [{ expression: licence }] }),
    purl,
    ...(files.length === 0
      ? {}
      : {
          components: files.map((path) => ({
            type: 'file',
            'bom-ref': `${purl}#${path}`,
            name: path,
            hashes: [hashOf(digests.get(path) ?? '')],
          })),
        }),
    ...(bundledInto.length === 0
      ? {}
      : { properties: bundledInto.map((path) => ({ name: 'enclaim:bundled-into', value: path })) }),
  };
}

function hashOf(digest: string): { alg: string; content: string } {
  const [name = '', content = ''] = digest.split(':');
  return { alg: name.replace('sha', 'SHA-'), content };
}
