/** The bill of materials of an image as SPDX 3.0.1, JSON-LD: a function of its manifest. */

import type { Manifest } from '../describe/manifest.ts';
import { bundledFrom, fileDigests, ownVersion } from './cyclonedx.ts';

/** The format demands a time; a document that follows from an image has none. */
const NO_TIME = '1970-01-01T00:00:00Z';
const CREATION = '_:creation';
const CONTEXT = 'https://spdx.org/rdf/3.0.1/spdx-context.jsonld';

/** The makers of elements for one image. */
interface Elements {
  readonly name: (part: string) => string;
  readonly element: (type: string, part: string, fields: object) => object;
  /** A relationship, if it leads anywhere. */
  readonly relate: (from: string, relationshipType: string, to: readonly string[]) => object[];
}

function elementsOf(id: string): Elements {
  const name = (part: string): string => `urn:enclaim:image:${id}#${encodeURI(part)}`;
  const element = (type: string, part: string, fields: object): object => ({
    type,
    spdxId: name(part),
    creationInfo: CREATION,
    ...fields,
  });
  const relate = (from: string, relationshipType: string, to: readonly string[]): object[] => {
    const fields = { from: name(from), relationshipType, to: to.map(name), completeness: 'complete' };
    return to.length === 0 ? [] : [element('Relationship', `${relationshipType}/${from}`, fields)];
  };
  return { name, element, relate };
}

/** The document. The same bytes for the same manifest. */
export function spdx(manifest: Manifest): string {
  const { id, artefacts, components } = manifest;
  const elements = elementsOf(id);
  const { name, element, relate } = elements;
  const digests = fileDigests(manifest);
  const graph = [
    { type: 'CreationInfo', '@id': CREATION, specVersion: '3.0.1', created: NO_TIME, createdBy: [name('maker')] },
    element('SoftwareAgent', 'maker', { name: 'enclaim image build' }),
    element('SpdxDocument', 'document', {
      name: 'enclaim-base-image',
      profileConformance: ['core', 'software', 'simpleLicensing'],
      rootElement: [name('bill')],
    }),
    element('software_Sbom', 'bill', { software_sbomType: ['build'], rootElement: [name('image')] }),
    element('software_Package', 'image', {
      name: 'enclaim-base-image',
      software_packageVersion: ownVersion(components),
      software_primaryPurpose: 'operatingSystem',
      software_packageUrl: `pkg:generic/enclaim-base-image@${ownVersion(components)}?checksum=${id}`,
      verifiedUsing: [hashOf(artefacts.uki.sha256)],
    }),
    ...relate(
      'image',
      'contains',
      components.filter(({ files }) => files.length > 0).map(({ purl }) => purl),
    ),
    ...components.flatMap((component) => componentElements(component, { components, digests }, elements)),
    ...[...new Set(components.flatMap(({ licence }) => (licence === null ? [] : [licence])))].sort().map((licence) =>
      element('simplelicensing_LicenseExpression', `licence/${licence}`, {
        simplelicensing_licenseExpression: licence,
      }),
    ),
  ];
  return `${JSON.stringify({ '@context': CONTEXT, '@graph': graph }, null, 2)}\n`;
}

/** A component, its files, and what it consists of. */
function componentElements(
  component: Manifest['components'][number],
  { components, digests }: Pick<Manifest, 'components'> & { readonly digests: ReturnType<typeof fileDigests> },
  { element, relate }: Elements,
): object[] {
  const { name: title, version, purl, digest, licence, files, bundledInto } = component;
  return [
    element('software_Package', purl, {
      name: title,
      software_packageVersion: version,
      software_packageUrl: purl,
      software_primaryPurpose: bundledInto.length > 0 ? 'library' : 'application',
      ...(digest === null ? {} : { verifiedUsing: [hashOf(digest)] }),
    }),
    ...files.map((path) =>
      element('software_File', `${purl}/${path}`, {
        name: path,
        software_primaryPurpose: 'file',
        verifiedUsing: [hashOf(digests.get(path) ?? '')],
      }),
    ),
    ...relate(
      purl,
      'contains',
      files.map((path) => `${purl}/${path}`),
    ),
    ...relate(purl, 'dependsOn', bundledFrom(component, components)),
    ...(licence === null ? [] : relate(purl, 'hasDeclaredLicense', [`licence/${licence}`])),
  ];
}

function hashOf(digest: string): object {
  const [algorithm = '', hashValue = ''] = digest.split(':');
  return { type: 'Hash', algorithm, hashValue };
}
