/** Whatever differs between claim and rebuild is named, causes before effects. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launchCommandLine, predictPcrs } from '@enclaim/attestation/measure';
import { compareCommandLine, compareManifests, compareRegisters, type Difference } from '../src/audit/audit.ts';
import type { Manifest } from '../src/describe/manifest.ts';
import { SAMPLE } from './manifest.ts';

type Draft = { -readonly [K in keyof Manifest]: Manifest[K] };

test('the same manifest has no differences', () => {
  assert.deepEqual(compareManifests(SAMPLE, structuredClone(SAMPLE)), []);
});

/** One change each, and the first component that the audit must name. */
const FAULTS: readonly [string, string, (draft: Draft) => void][] = [
  [
    'another package',
    'input libc6',
    (m) => {
      m.inputs = m.inputs.map((input) => ({ ...input, version: '2.36-10' }));
    },
  ],
  [
    'a package more',
    'input zlib1g',
    (m) => {
      m.inputs = [...m.inputs, ...m.inputs.map((input) => ({ ...input, name: 'zlib1g' }))];
    },
  ],
  [
    'a package less',
    'input libc6',
    (m) => {
      m.inputs = [];
    },
  ],
  [
    'another file',
    'file lib/libc.so.6',
    (m) => {
      m.contents = m.contents.map((c) => (c.path.endsWith('.6') ? { ...c, sha256: SAMPLE.id } : c));
    },
  ],
  [
    'another mode',
    'file proc',
    (m) => {
      m.contents = m.contents.map((c) => (c.path === 'proc' ? { ...c, mode: '0755' } : c));
    },
  ],
  [
    'a file less',
    'file init',
    (m) => {
      m.contents = m.contents.slice(1);
    },
  ],
  [
    'another section',
    'section .linux',
    (m) => {
      m.sections = m.sections.map((s) => ({ ...s, sha256: SAMPLE.id }));
    },
  ],
  [
    'another UKI',
    'artefact uki',
    (m) => {
      m.artefacts = { ...m.artefacts, uki: { ...m.artefacts.uki, sha256: SAMPLE.artefacts.kernel.sha256 } };
    },
  ],
  [
    'another command line',
    'word debug',
    (m) => {
      m.references = { ...m.references, tpm: { ...m.references.tpm, commandLine: 'quiet debug' } };
    },
  ],
  [
    'other firmware',
    'reference tdx.firmware.mrtd',
    (m) => {
      const { tdx, ...others } = m.references;
      m.references = { ...others, tdx: { ...tdx, firmware: { ...tdx.firmware, mrtd: tdx.firmware.cfv } } };
    },
  ],
];

const causes = (differences: readonly Difference[]): string[] =>
  differences.filter(({ because }) => because.length === 0).map(({ component }) => component);

for (const [name, component, change] of FAULTS) {
  test(`${name}: the audit names ${component}, whichever side changed`, () => {
    const other: Draft = structuredClone(SAMPLE);
    change(other);
    const differences = compareManifests(SAMPLE, other);
    assert.deepEqual(causes(differences), [component]);
    const [back] = compareManifests(other, SAMPLE);
    assert.deepEqual([back?.claimed, back?.rebuilt], [differences[0]?.rebuilt, differences[0]?.claimed]);
  });
}

test('causes come before effects, and an effect names what it is made of', () => {
  const other: Draft = structuredClone(SAMPLE);
  for (const [, , change] of [...FAULTS].reverse()) change(other);
  const differences = compareManifests(SAMPLE, other);
  const first = differences.findIndex(({ because }) => because.length > 0);
  assert.deepEqual(
    differences.slice(0, first).map(({ component }) => component),
    causes(differences),
  );
  const effect = differences.find(({ component }) => component === 'artefact uki');
  assert.deepEqual(effect?.because, ['command line of the image', 'section .linux']);
});

test('whatever of a manifest differs is a difference', () => {
  const other: Draft = structuredClone(SAMPLE);
  other.sections = other.sections.map((section) => ({ ...section, reason: 'another reason' }));
  const [difference, ...others] = compareManifests(SAMPLE, other);
  assert.equal(difference?.component, 'manifest');
  assert.match(`${difference?.rebuilt}`, /another reason/);
  assert.deepEqual(others, []);
});

test('registers: either way to boot fits; one changed register is named; a missing one is a difference', () => {
  const image = SAMPLE.references.tpm;
  const policy = `sha384:${'0a'.repeat(48)}` as const;
  const launch = {
    commandLine: launchCommandLine(image, policy),
    policy,
    bundle: `sha384:${'0b'.repeat(48)}` as const,
  };
  for (const boot of ['kernel', 'disk'] as const) {
    const registers = predictPcrs(image, { ...launch, boot });
    assert.deepEqual(compareRegisters(registers, image, launch), []);
    for (const index of registers.keys()) {
      const changed = new Map(registers).set(index, new Uint8Array(32).fill(0xff));
      assert.deepEqual(
        compareRegisters(changed, image, launch).map((d) => d.component),
        [`register ${index}`],
      );
      changed.delete(index);
      assert.deepEqual(
        compareRegisters(changed, image, launch).map((d) => d.claimed),
        [null],
      );
    }
  }
});

test('a machine started with another command line is named, though its registers fit that line', () => {
  const image = SAMPLE.references.tpm;
  const policy = `sha384:${'00'.repeat(48)}` as const;
  const launch = { policy, bundle: policy };
  assert.deepEqual(compareCommandLine(image, { ...launch, commandLine: null }), []);
  assert.deepEqual(compareCommandLine(image, { ...launch, commandLine: launchCommandLine(image, policy) }), []);
  const commandLine = `rdinit=/usr/bin/node -- -e 0 enclaim.policy=${policy}`;
  assert.deepEqual(
    compareRegisters(predictPcrs(image, { ...launch, boot: 'kernel', commandLine }), image, { ...launch, commandLine }),
    [],
  );
  const [difference, ...others] = compareCommandLine(image, { ...launch, commandLine });
  assert.equal(difference?.component, 'command line');
  assert.equal(difference?.claimed, commandLine);
  assert.deepEqual(others, []);
});
