/**
 * Provenance of an image: an in-toto statement with SLSA provenance 1.0, a function of its
 * manifest, without times.
 */
import { createHash } from 'node:crypto';
import { STATEMENT, type Subject } from '@enclaim/attestation/intoto';
import { inputDigest, purlOf } from '../describe/components.ts';
import { formatManifest, type Manifest } from '../describe/manifest.ts';
import { cyclonedx } from './cyclonedx.ts';
import { spdx } from './spdx.ts';

/**
 * Meaning of `parameters`: `enclaim image build` with the lock file and table of programs of a
 * source tree.
 */
export const BUILD_TYPE = 'urn:enclaim:build:image:1';

/** Documents beside an image, by file name. */
export type DocumentName = 'manifest.json' | 'sbom.cdx.json' | 'sbom.spdx.json' | 'provenance.json';

/** How each is made. */
export const DOCUMENTS: Readonly<Record<DocumentName, (manifest: Manifest) => string>> = {
  'manifest.json': formatManifest,
  'sbom.cdx.json': cyclonedx,
  'sbom.spdx.json': spdx,
  'provenance.json': provenance,
};

/** The statement in an envelope (DSSE), if a key was given. */
export const SIGNED_PROVENANCE = 'provenance.dsse.json';

/** The statement. The same bytes for the same manifest. */
export function provenance(manifest: Manifest): string {
  const { artefacts, inputs, components, origins } = manifest;
  const described = ['manifest.json', 'sbom.cdx.json', 'sbom.spdx.json'] as const;
  const statement = {
    _type: STATEMENT,
    subject: Object.values(artefacts).map(({ file, sha256 }) => subject(file, sha256)),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: {
          lock: inputs.map((input) => `${input.name}@${input.version}`),
          programs: Object.keys(origins.programs),
        },
        internalParameters: { options: origins.options },
        resolvedDependencies: [
          ...inputs.map((input) => ({ uri: purlOf(input), ...digestSet(inputDigest(input)) })),
          ...components.flatMap(({ purl, digest, bundledInto }) =>
            digest === null || bundledInto.length === 0 ? [] : [{ uri: purl, ...digestSet(digest) }],
          ),
          ...Object.entries(origins.programs).map(([program, sources]) => ({
            name: `sources of ${program}`,
            ...digestSet(sourcesDigest(sources)),
          })),
        ],
      },
      runDetails: {
        // Every run of the build gives these bytes. The signer of the statement vouches for a run.
        builder: { id: BUILD_TYPE, version: origins.tools },
        byproducts: described.map((name) => ({
          name,
          ...digestSet(`sha256:${sha256Hex(DOCUMENTS[name](manifest))}`),
        })),
      },
    },
  };
  return `${JSON.stringify(statement, null, 2)}\n`;
}

function subject(name: string, digest: string): Subject {
  return { name, ...digestSet(digest) };
}

function digestSet(text: string): { digest: Record<string, string> } {
  const [algorithm = '', value = ''] = text.split(':');
  return { digest: { [algorithm]: value } };
}

/** SHA-256 over one line for each file as sha256sum(1) writes it, by path. */
function sourcesDigest(sources: Readonly<Record<string, string>>): string {
  const lines = Object.entries(sources)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, digest]) => `${digest.replace('sha256:', '')}  ${path}\n`);
  return `sha256:${sha256Hex(lines.join(''))}`;
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
