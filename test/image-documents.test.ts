/** What stands beside an image: reference values that others compute too, bills of materials and provenance that others read. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Ajv, type AnySchema, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { utf8 } from '../attestation/src/bytes.ts';
import { openEnvelope, parseEnvelope, signEnvelope } from '../attestation/src/intoto/index.ts';
import { launchCommandLine, qemuCpuSignature } from '../attestation/src/measure/index.ts';
import { ed25519Key } from '../attestation/src/statement.ts';
import { inputDigest, purlOf } from '../image/src/describe/components.ts';
import { fileAt, readTar } from '../image/src/formats/tar.ts';
import { readDeb } from '../image/src/inputs/deb.ts';
import { fetchLocked } from '../image/src/inputs/fetch.ts';
import { FIRMWARE } from '../image/src/inputs/firmware.ts';
import { readMachineLock } from '../image/src/inputs/machine-lock.ts';
import { snpLaunchDigests } from '../image/src/measure.ts';
import { writeImage } from '../image/src/publish/image-folder.ts';
import { DOCUMENTS, SIGNED_PROVENANCE } from '../image/src/publish/provenance.ts';
import { needs } from './support/machine-needs.ts';
import { refused } from './support/refused.ts';
import { shippedImage } from './support/shipped-image.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-documents-'));
after(() => rm(scratch, { recursive: true, force: true }));

const folder = join(scratch, 'image');
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
const seal = (text: string): string =>
  JSON.stringify(signEnvelope(utf8(text), key, (message) => sign(null, message, privateKey)));
const image = await shippedImage();
const { manifest } = image;
await writeImage(image, folder, seal);
const json = async (name: string): Promise<Json> => JSON.parse(await readFile(join(folder, name), 'utf8'));
// biome-ignore lint/suspicious/noExplicitAny: documents of other people's formats, read field by field
type Json = any;

const POLICY = `sha384:${'5a'.repeat(48)}` as const;
const LAUNCHES = [
  ['EPYC-v4', 1],
  ['EPYC-v4', 2],
  ['EPYC-Milan', 4],
  ['EPYC-Genoa', 64],
] as const;

/** The schemas as their makers publish them, out of one package that carries both. */
const SCHEMAS = (await readMachineLock()).tests?.find(({ name }) => name === '@cyclonedx/cdxgen');
assert.ok(SCHEMAS);
const tarball = await readFile((await fetchLocked([SCHEMAS])).get(SCHEMAS.name) ?? '');
const published = await readTar('package.tgz', tarball, (path) => path.endsWith('.schema.json'));
const schema = (name: string): AnySchema =>
  JSON.parse(Buffer.from(fileAt(published, `package/data/${name}.schema.json`).data).toString('utf8'));

/** Our digest of each launch, and what to compute it from again. */
const files = {
  firmware: join(scratch, 'OVMF.fd'),
  kernel: join(folder, manifest.artefacts.kernel.file),
  initrd: join(folder, manifest.artefacts.initrd.file),
};
const commandLine = launchCommandLine(manifest.references.snp, POLICY);
const locked = manifest.inputs.filter(({ name }) => name === FIRMWARE.snp.input);
const packed = await readFile((await fetchLocked(locked)).get(FIRMWARE.snp.input) ?? '');
await writeFile(files.firmware, fileAt(await readDeb(packed), FIRMWARE.snp.file).data);

async function compareLaunches(compute: (model: string, signature: number, vcpus: number) => string): Promise<void> {
  for (const [model, vcpus] of LAUNCHES) {
    const cpuSignature = qemuCpuSignature(model) ?? 0;
    const machine = { vcpus: [vcpus], vmm: 'qemu', cpuSignature, features: 1 } as const;
    const { [vcpus]: ours } = await snpLaunchDigests(manifest.references.snp, machine, POLICY);
    assert.equal(ours, `sha384:${compute(model, cpuSignature, vcpus).trim()}`, `${vcpus} × ${model}`);
  }
}

test('launch digests of the image with Debian’s ovmf-amdsev are those of a second computation, in Python', () =>
  compareLaunches((_, signature, vcpus) => {
    const script = join(import.meta.dirname, 'support/snp_launch.py');
    const launched = [...Object.values(files), commandLine, String(signature), String(vcpus)];
    return execFileSync('python3', [script, ...launched], { encoding: 'utf8' });
  }));

test('… and those of sev-snp-measure', needs('sev-snp-measure'), () =>
  compareLaunches((model, _, vcpus) => {
    const machine = ['--mode', 'snp', '--guest-features', '0x1', '--vcpus', String(vcpus), '--vcpu-type', model];
    const { firmware, kernel, initrd } = files;
    const launched = ['--ovmf', firmware, '--kernel', kernel, '--initrd', initrd, '--append', commandLine];
    return execFileSync('sev-snp-measure', [...machine, ...launched], { encoding: 'utf8' });
  }),
);

function cyclonedxValidator(): ValidateFunction {
  const ajv = new Ajv({ strict: false });
  addFormats.default(ajv);
  for (const format of ['iri-reference', 'idn-email']) ajv.addFormat(format, true);
  for (const name of ['spdx', 'jsf-0.82', 'cryptography-defs']) ajv.addSchema(schema(name));
  return ajv.compile(schema('bom-1.7'));
}

function spdxValidator(): ValidateFunction {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  return ajv.compile(schema('spdx-export'));
}

test('the CycloneDX document fits its schema, and one with a fault does not', async () => {
  const valid = cyclonedxValidator();
  const document = await json('sbom.cdx.json');
  assert.ok(valid(document), JSON.stringify(valid.errors));
  for (const fault of [
    (bom: Json) => Object.assign(bom.components[0], { type: 'thing' }),
    (bom: Json) => Object.assign(bom.components[0].hashes[0], { content: 'x' }),
    (bom: Json) => Object.assign(bom, { serialNumber: 'urn:uuid:1' }),
  ]) {
    const other: Json = structuredClone(document);
    fault(other);
    assert.ok(!valid(other));
  }
});

test('the SPDX document fits its schema, and one with a fault does not', async () => {
  const valid = spdxValidator();
  const document = await json('sbom.spdx.json');
  assert.ok(valid(document), JSON.stringify(valid.errors?.slice(0, 3)));
  for (const fault of [
    (graph: Json[]) =>
      Object.assign(graph[4], { verifiedUsing: [{ type: 'Hash', algorithm: 'sha257', hashValue: '' }] }),
    (graph: Json[]) => Object.assign(graph[0], { created: 'today' }),
    (graph: Json[]) => Object.assign(graph[4], { vendor: 'us' }),
  ]) {
    const other: Json = structuredClone(document);
    fault(other['@graph']);
    assert.ok(!valid(other));
  }
});

test('every reference inside the SPDX document leads to an element of it', async () => {
  const { '@graph': graph } = await json('sbom.spdx.json');
  const ids = new Set(graph.map((element: Json) => element.spdxId ?? element['@id']));
  assert.equal(ids.size, graph.length);
  for (const { from, to, rootElement, createdBy } of graph) {
    for (const id of [from, ...(to ?? []), ...(rootElement ?? []), ...(createdBy ?? [])]) {
      if (id !== undefined) assert.ok(ids.has(id), id);
    }
  }
});

test('every file, link and section is in exactly one component of both documents, with its digest', async () => {
  const expected = [
    ...manifest.contents.flatMap(({ path, sha256 }) => (sha256 === null ? [] : [[path, sha256]])),
    ...manifest.sections.map(({ name, sha256 }) => [name, sha256]),
  ].sort();
  const { components } = await json('sbom.cdx.json');
  const inCyclonedx = components.flatMap(({ components: parts = [] }: Json) =>
    parts.map(({ name, hashes }: Json) => [name, `sha256:${hashes[0].content}`]),
  );
  assert.deepEqual(inCyclonedx.sort(), expected);
  const { '@graph': graph } = await json('sbom.spdx.json');
  const inSpdx = graph
    .filter(({ type }: Json) => type === 'software_File')
    .map(({ name, verifiedUsing }: Json) => [name, `${verifiedUsing[0].algorithm}:${verifiedUsing[0].hashValue}`]);
  assert.deepEqual(inSpdx.sort(), expected);
});

test('every package has its version, purl, digest and licence: those that were locked, and those that were bundled', async () => {
  const { components } = await json('sbom.cdx.json');
  const found = new Map<string, Json>(components.map((component: Json) => [component.purl, component]));
  const firmware: readonly string[] = Object.values(FIRMWARE).map(({ input }) => input);
  for (const input of manifest.inputs) {
    const { hashes, version, licenses } = found.get(purlOf(input)) ?? {};
    if (firmware.includes(input.name)) {
      assert.equal(version, undefined, `${input.name} is no part of the image`);
      continue;
    }
    assert.equal(version, input.version);
    assert.equal(`${hashes[0].alg.replace('SHA-', 'sha')}:${hashes[0].content}`, inputDigest(input));
    assert.ok(licenses[0].expression, input.name);
  }
  for (const [name, version] of Object.entries(manifest.origins.packages)) {
    const component = components.find((one: Json) => one.name === name);
    assert.equal(component?.version, version, name);
    assert.match(component.hashes[0].content, /^[0-9a-f]{128}$/);
    assert.ok(component.licenses[0].expression, name);
  }
  assert.equal(found.get(`pkg:generic/openssl@${process.versions.openssl}`)?.properties[0].value, 'usr/bin/node');
});

test('provenance names what was made, of which inputs, with which tools; signed by the key and by no other', async () => {
  const statement = await json('provenance.json');
  assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
  assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1');
  for (const { name, digest } of [...statement.subject, ...statement.predicate.runDetails.byproducts]) {
    const bytes = await readFile(join(folder, name));
    assert.deepEqual(digest, { sha256: createHash('sha256').update(bytes).digest('hex') }, name);
  }
  assert.equal(statement.subject.length, 3);
  const { resolvedDependencies } = statement.predicate.buildDefinition;
  for (const input of manifest.inputs) {
    const [algorithm = '', value] = inputDigest(input).split(':');
    const dependency = resolvedDependencies.find(({ uri }: Json) => uri === purlOf(input));
    assert.deepEqual(dependency?.digest, { [algorithm]: value }, input.name);
  }
  assert.equal(statement.predicate.runDetails.builder.version.node, process.version);
  const envelope = parseEnvelope(await readFile(join(folder, SIGNED_PROVENANCE)));
  assert.deepEqual(JSON.parse(Buffer.from(await openEnvelope(envelope, key)).toString()), statement);
  const { publicKey: stranger } = generateKeyPairSync('ed25519');
  const other = ed25519Key(stranger.export({ format: 'der', type: 'spki' }).subarray(-32));
  await refused('signature', () => openEnvelope(envelope, other));
  const forged = { ...envelope, payload: Buffer.from(DOCUMENTS['manifest.json'](manifest)).toString('base64') };
  await refused('signature', () => openEnvelope(forged, key));
});

test('the documents follow from the manifest, and hold no time, folder or user', async () => {
  const here = /\/(home|root|tmp|work)\//;
  for (const [name, make] of Object.entries(DOCUMENTS)) {
    const text = await readFile(join(folder, name), 'utf8');
    assert.equal(make(structuredClone(manifest)), text, name);
    assert.deepEqual(
      new Set(text.match(/\d{4}-\d\d-\d\dT[\d:.]+/g)),
      new Set(name === 'sbom.spdx.json' ? ['1970-01-01T00:00:00'] : []),
    );
    assert.doesNotMatch(text, here);
  }
  assert.deepEqual(
    (await readdir(folder)).sort(),
    [...Object.keys(DOCUMENTS), SIGNED_PROVENANCE, ...Object.values(manifest.artefacts).map(({ file }) => file)].sort(),
  );
});
