/** The attested call over a real TLS connection and a real software TPM: what goes through, and what never does. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { toHex } from '@enclaim/attestation/bytes';
import {
  type AttestedChannel,
  ChannelError,
  type CheckedReceipt,
  connect,
  parseReceiptFile,
  receiptFile,
  VerdictError,
  verifyReceiptFile,
  verifySaved,
} from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import type { BuiltBundle } from '@enclaim/image';
import { parseDemand } from '@enclaim/policy-schema';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';
import { startInPathProxy, type Tamper } from './support/in-path-proxy.ts';

const SUBMIT = 'clinic.v1.Intake/Submit';
const READ = 'clinic.v1.Intake/Read';

let bundle: BuiltBundle;
let server: AttestedRuntime;
before(async () => {
  bundle = await clinicBundle();
  server = await bootAttested(bundle);
});
after(() => server.stop());

/** Calls a method with JSON, as `enclaim call` does. */
async function callJson(channel: AttestedChannel, method: string, json: JsonValue): Promise<JsonValue> {
  const { registry } = await describeServices(channel, { deadline: Date.now() + HANGS_MS });
  const [service = '', name] = method.split('/');
  const descriptor = registry.getService(service)?.methods.find((each) => each.name === name);
  assert(descriptor !== undefined, `${method} is not exposed`);
  const response = await callRaw(channel, method, toBinary(descriptor.input, fromJson(descriptor.input, json)));
  return toJson(descriptor.output, fromBinary(descriptor.output, response));
}

function callRaw(channel: AttestedChannel, method: string, request: Uint8Array): Promise<Buffer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method}`,
      same,
      same,
      Buffer.from(request),
      { deadline: Date.now() + HANGS_MS },
      (error, response) => {
        if (error !== null || response === undefined) reject(error);
        else resolve(response);
      },
    );
  });
}

const PATIENT = {
  resourceType: 'Patient',
  id: 'p1',
  name: [{ family: 'Chalmers', given: ['Peter'] }],
  birthDate: '1974-12-25',
};

/** References that pin the attestation key, so that evidence verifies offline. */
function pinned({ references, runtime }: AttestedRuntime): References {
  const { ak } = runtime.statement.device;
  return { ...references, anchors: { ...references.anchors, attestationKeys: ak === null ? [] : [ak] } };
}

describe('an honest server', () => {
  test('shows an ok verdict, answers, and gives receipts that verify offline', async () => {
    const receipts: CheckedReceipt[] = [];
    const demands = ['claim audited-system', 'claim access-logged', 'recipients(personal.health) subset []'].map(
      parseDemand,
    );
    const channel = await connect(server.target, {
      references: server.references,
      demands,
      onReceipt: (r) => receipts.push(r),
    });
    try {
      assert.equal(channel.attestation.verdict.ok, true);
      const { caseId } = (await callJson(channel, SUBMIT, { patient: PATIENT })) as { caseId: string };
      const read = (await callJson(channel, READ, { caseId })) as { patient: unknown };
      assert.deepEqual(read.patient, PATIENT);
      assert.equal(receipts.length, 2);
      const [first] = receipts;
      assert(first !== undefined);
      assert.deepEqual(first.body.decision.result, 'allow');
      const file = parseReceiptFile(receiptFile(first, null));
      const { verdict, body } = await verifyReceiptFile(file, { references: pinned(server) });
      assert.equal(verdict.ok, true);
      assert.equal(body.method, SUBMIT);
      assert.equal(verdict.checks.find(({ id }) => id === 'nonce')?.outcome, 'not run');
    } finally {
      channel.close();
    }
  });

  test('does not know a withheld method, nor show it', async () => {
    const channel = await connect(server.target, { references: server.references });
    try {
      const { services } = await describeServices(channel, { deadline: Date.now() + HANGS_MS });
      assert.deepEqual(services, ['clinic.v1.Intake']);
      await assert.rejects(
        callRaw(channel, 'clinic.v1.Marketing/ExportContacts', new Uint8Array()),
        (error: ServiceError) => error.code === 12,
      );
    } finally {
      channel.close();
    }
  });

  test('refuses a request with fields that have no category', async () => {
    const channel = await connect(server.target, { references: server.references });
    try {
      const unknownField = Uint8Array.of(0xfa, 0x3f, 1, 0x61); // field 1023, bytes "a"
      await assert.rejects(callRaw(channel, SUBMIT, unknownField), (error: ServiceError) => error.code === 3);
    } finally {
      channel.close();
    }
  });

  test('is refused by references of another policy, image, bundle or root', async () => {
    const other = `sha384:${'ab'.repeat(48)}` as const;
    const wrong: [string, References, (error: unknown) => boolean][] = [
      [
        'policy',
        { ...server.references, policy: other },
        (e) => e instanceof VerdictError && failed(e).includes('policy'),
      ],
      [
        'bundle',
        { ...server.references, bundles: [other] },
        (e) => e instanceof VerdictError && failed(e).join() === 'bundle',
      ],
      [
        'no image',
        { ...server.references, images: [] },
        (e) => e instanceof VerdictError && failed(e).join() === 'image',
      ],
      [
        'workers without the layers of a VM',
        { ...server.references, unsafeUnconfined: ['user', 'namespaces', 'root'] },
        (e) => e instanceof VerdictError && failed(e).join() === 'confinement',
      ],
      [
        'another initrd',
        { ...server.references, images: server.references.images.map((image) => ({ ...image, initrd: image.kernel })) },
        (e) => e instanceof VerdictError && failed(e).join() === 'register.9',
      ],
      [
        'no root',
        { ...server.references, anchors: { ...server.references.anchors, unsafeSwtpmRoots: [] } },
        (e) => e instanceof Error && e.name === 'EvidenceError' && 'code' in e && e.code === 'chain',
      ],
    ];
    for (const [name, references, refused] of wrong)
      await assert.rejects(connect(server.target, { references }), refused, name);
  });

  test('is refused where a demand is not met', async () => {
    const demands = [parseDemand('claim encryption-at-rest')];
    await assert.rejects(connect(server.target, { references: server.references, demands }), VerdictError);
  });
});

function failed({ verdict }: VerdictError): string[] {
  return verdict.checks.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id);
}

describe('an attacker on the path', () => {
  /** With nothing but the relay, the attacker's own certificate is what must be found out. */
  const attacks: [string, Tamper, string][] = [
    ['puts its own certificate in', () => {}, 'binding'],
    [
      'replaces the policy',
      ({ step }) => {
        if (step.case === 'evidence') step.value.policy = Buffer.from(toHex(randomBytes(32)));
      },
      'binding',
    ],
    [
      'asks with a nonce of its own',
      ({ step }) => {
        if (step.case === 'hello') step.value.nonce = randomBytes(32);
      },
      'nonce',
    ],
    [
      'replaces the statement',
      ({ step }) => {
        if (step.case === 'evidence') step.value.statement = Uint8Array.of(0x7b, 0x7d);
      },
      'format',
    ],
    [
      'says that it is another platform',
      ({ step }) => {
        if (step.case === 'evidence') step.value.platform = 'simulated';
      },
      'platform',
    ],
  ];
  for (const [name, tamper, code] of attacks) {
    test(`that ${name} is refused before an application byte leaves`, async () => {
      const proxy = await startInPathProxy(server.runtime.port, tamper);
      try {
        await assert.rejects(connect(proxy.target, { references: server.references }), { name: 'EvidenceError', code });
        assert.deepEqual(
          proxy.steps.filter((step) => step !== 'hello' && step !== 'activate'),
          [],
        );
        assert.equal(proxy.leaked(), 0);
      } finally {
        proxy.close();
      }
    });
  }
});

describe('a host between runtime and TPM', () => {
  test('that changes the quote is refused', async () => {
    const lying = await bootAttested(bundle, {
      platform: (honest) => ({
        ...honest,
        sign: async (root, boot) => {
          const evidence = await honest.sign(root, boot);
          const attest = Uint8Array.from((evidence.value as { attest: Uint8Array }).attest);
          attest[attest.length - 1] = (attest.at(-1) ?? 0) ^ 1;
          return { case: 'tpm', value: { ...evidence.value, attest } } as typeof evidence;
        },
      }),
    });
    try {
      await assert.rejects(connect(lying.target, { references: lying.references }), {
        name: 'EvidenceError',
        code: 'signature',
      });
    } finally {
      await lying.stop();
    }
  });

  test('that replays an older quote is refused', async () => {
    const replaying = await bootAttested(bundle, {
      platform: (honest) => {
        let first: ReturnType<typeof honest.sign> | undefined;
        return { ...honest, sign: (root, boot) => (first ??= honest.sign(root, boot)) };
      },
    });
    try {
      await assert.rejects(connect(replaying.target, { references: replaying.references }), {
        name: 'EvidenceError',
        code: 'nonce',
      });
    } finally {
      await replaying.stop();
    }
  });

  test('that launches another command line is refused, with both lines in the reason', async () => {
    const launched = await bootAttested(bundle, {
      commandLine: `quiet panic=-1 init=/bin/sh enclaim.policy=${bundle.policy}`,
    });
    try {
      await assert.rejects(connect(launched.target, { references: launched.references }), (error: unknown) => {
        assert(error instanceof VerdictError);
        assert.deepEqual(failed(error), ['register.9', 'register.12']);
        assert.match(error.message, /measured "quiet panic=-1 init=\/bin\/sh/);
        return true;
      });
    } finally {
      await launched.stop();
    }
  });
});

describe('saved evidence', () => {
  test('is refused with any byte changed, cut short or lengthened', async () => {
    const channel = await connect(server.target, { references: server.references });
    const { evidence } = channel.attestation;
    channel.close();
    const references = pinned(server);
    assert.equal((await verifySaved(evidence, { references })).verdict.ok, true);
    let refused = 0;
    for (let at = 0; at < evidence.length; at++) {
      const changed = Uint8Array.from(evidence);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      await assert.rejects(verifySaved(changed, { references }), { name: 'EvidenceError' }, `byte ${at}`);
      refused++;
    }
    for (const length of [0, 1, evidence.length >> 1, evidence.length - 1]) {
      await assert.rejects(verifySaved(evidence.subarray(0, length), { references }), { name: 'EvidenceError' });
    }
    await assert.rejects(verifySaved(Buffer.concat([evidence, Buffer.alloc(1)]), { references }), {
      name: 'EvidenceError',
    });
    console.log(`saved evidence: ${refused} of ${evidence.length} single-byte changes refused`);
  });

  test('without a pin is refused: an activation cannot be saved', async () => {
    const channel = await connect(server.target, { references: server.references });
    const { evidence } = channel.attestation;
    channel.close();
    await assert.rejects(verifySaved(evidence, { references: server.references }), {
      name: 'EvidenceError',
      code: 'chain',
    });
  });
});

test('nobody answers', async () => {
  await assert.rejects(
    connect('127.0.0.1:1', { references: server.references }),
    (error: unknown) => error instanceof ChannelError && error.code === 'unreachable',
  );
});
