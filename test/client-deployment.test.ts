/** Deployments and verdict documents: the owner's word on devices, and the verifier's word on both, at the command line too. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { References, Verdict } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import {
  type Deployment,
  parseDeployment,
  type SignedDeployment,
  signDeployment,
  verifyDeployment,
} from '@enclaim/attestation/deployment';
import { verifyEar } from '@enclaim/attestation/rats';
import { parseReferences, withDeployments } from '@enclaim/attestation/references';
import { type Ed25519Text, ed25519Key, ed25519Spki } from '@enclaim/attestation/statement';
import { parseVerdictDocument, verdictDocument, verdictJsonSchema } from '@enclaim/attestation/verdict-document';
import { connect, VerdictError, verifySaved } from '@enclaim/client';
import { buildBundle } from '@enclaim/image';
import { bootAttested } from './support/attested-runtime.ts';
import { type PretendServer, policyOf, startPretendServer } from './support/pretend-server.ts';
import { failing, isAlwaysRun, undecodable } from './support/refused.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const DAY = 86_400_000;

/** An owner with its key. */
function owner(): { key: Ed25519Text; pem: string; sign: (message: Uint8Array) => Uint8Array } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    key: ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)),
    pem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    sign: (message) => sign(null, message, privateKey),
  };
}

const clinic = owner();
let server: PretendServer;
let folder: string;
before(async () => {
  server = await startPretendServer({ owner: clinic.key });
  folder = await mkdtemp(join(tmpdir(), 'enclaim-deployment-'));
});
after(async () => {
  server.stop();
  await rm(folder, { recursive: true });
});

function deployment(changes: Partial<Deployment> = {}): Deployment {
  return {
    policy: server.references.policy,
    devices: [`ak:${server.attestationKey}`],
    notBefore: new Date(Date.now() - DAY).toISOString(),
    notAfter: new Date(Date.now() + DAY).toISOString(),
    ...changes,
  };
}

function pinning(...deployments: SignedDeployment[]): References {
  return parseReferences(utf8(JSON.stringify({ ...server.references, owner: clinic.key, deployments })));
}

async function verdictOf(references: References, now = Date.now): Promise<Verdict> {
  const channel = await connect(server.target, { references, now }).catch((error: unknown) => {
    assert(error instanceof VerdictError, String(error));
    return error;
  });
  if (channel instanceof VerdictError) return channel.verdict;
  channel.close();
  return channel.attestation.verdict;
}

describe('a client that pins an owner', () => {
  test('calls the devices that the owner deployed, and no other genuine one', async () => {
    const signed = signDeployment(deployment(), clinic.sign);
    assert.deepEqual(failing((await verdictOf(pinning(signed))).checks), []);
    const elsewhere = await startPretendServer({ owner: clinic.key });
    try {
      const { anchors } = elsewhere.references;
      // The other one's evidence is as good; only the owner does not know the machine.
      await assert.rejects(connect(elsewhere.target, { references: { ...pinning(signed), anchors } }), (error) => {
        assert(error instanceof VerdictError);
        assert.deepEqual(failing(error.verdict.checks), ['deployment']);
        return true;
      });
      (await connect(elsewhere.target, { references: { ...server.references, anchors } })).close();
    } finally {
      elsewhere.stop();
    }
  });

  const refusals: [string, () => SignedDeployment[], RegExp][] = [
    ['without any deployment', () => [], /the owner signed no deployment/],
    ['signed by another key', () => [signDeployment(deployment(), owner().sign)], /is not signed by/],
    [
      'changed after it was signed',
      () => [
        {
          ...signDeployment(deployment(), clinic.sign),
          deployment: deployment({ notAfter: '2099-01-01T00:00:00.000Z' }),
        },
      ],
      /is not signed by/,
    ],
    [
      'of another policy',
      () => [signDeployment(deployment({ policy: `sha384:${'ab'.repeat(48)}` }), clinic.sign)],
      /deployed is sha384:abab/,
    ],
    [
      'of other devices',
      () => [signDeployment(deployment({ devices: [`ak:sha256:${'cd'.repeat(32)}`] }), clinic.sign)],
      /names other devices/,
    ],
    // The endorsement key of this machine is known only by what the evidence says: the attestation key is pinned.
    [
      'by an endorsement key that was not activated',
      () => [
        signDeployment(
          deployment({ devices: [`ek:${server.statement.device.ek ?? 'sha256:'}` as const] }),
          clinic.sign,
        ),
      ],
      /names other devices/,
    ],
    [
      'that has ended',
      () => [signDeployment(deployment({ notAfter: new Date(Date.now() - 1000).toISOString() }), clinic.sign)],
      /deployed from/,
    ],
    [
      'that has not begun',
      () => [signDeployment(deployment({ notBefore: new Date(Date.now() + DAY / 2).toISOString() }), clinic.sign)],
      /deployed from/,
    ],
  ];
  for (const [name, deployments, reason] of refusals) {
    test(`refuses a deployment ${name}`, async () => {
      const { checks } = await verdictOf(pinning(...deployments()));
      assert.deepEqual(failing(checks), ['deployment']);
      assert.match(checks.find(({ id }) => id === 'deployment')?.detail ?? '', reason);
    });
  }

  test('refuses a deployment at a time that is no time', async () => {
    const held = pinning(signDeployment(deployment(), clinic.sign));
    assert.deepEqual(failing((await verdictOf(held, () => Number.NaN)).checks), ['deployment']);
  });

  test('refuses a boot that states another owner than its policy', async () => {
    const lying = await startPretendServer({ statement: { owner: clinic.key } });
    try {
      await assert.rejects(connect(lying.target, { references: lying.references }), { code: 'binding' });
    } finally {
      lying.stop();
    }
  });

  test('refuses a policy of another owner, whatever that one signed', async () => {
    const other = owner();
    const signed = signDeployment(deployment(), other.sign);
    const references = { ...pinning(signed), owner: other.key };
    assert.deepEqual(failing((await verdictOf(references)).checks), ['owner']);
  });

  test('is told that deployments without an owner hold nothing', async () => {
    const signed = signDeployment(deployment({ devices: [`ak:sha256:${'cd'.repeat(32)}`] }), clinic.sign);
    const references: References = { ...pinning(signed), owner: 'any' };
    const unusable = { name: 'AppraisalError', code: 'references', message: /owner "any".*deployments/ };
    assert.throws(() => parseReferences(utf8(JSON.stringify(references))), unusable);
    assert.throws(() => withDeployments({ ...server.references, owner: 'any' }, [signed]), unusable);
    await assert.rejects(connect(server.target, { references }), unusable);
    const channel = await connect(server.target, { references: server.references });
    channel.close();
    await assert.rejects(verifySaved(channel.attestation.evidence, { references }), unusable);
    const none = withDeployments({ ...server.references, owner: 'any' }, []);
    assert.equal((await verifySaved(channel.attestation.evidence, { references: none })).verdict.ok, true);
    assert.deepEqual(withDeployments(pinning(signed), [signed]).deployments, [signed, signed]);
  });

  test('reads no deployment that is not exactly one', () => {
    const signed = signDeployment(deployment(), clinic.sign);
    const parse = (value: object) => () => parseDeployment(utf8(JSON.stringify(value)));
    assert.deepEqual(parse(signed)(), signed);
    undecodable('syntax', parse({ ...signed, more: 1 }));
    undecodable('syntax', parse({ ...signed, deployment: { ...signed.deployment, devices: [] } }));
    undecodable('syntax', parse({ ...signed, deployment: { ...signed.deployment, devices: ['*'] } }));
    undecodable('syntax', parse({ ...signed, signature: '' }));
  });
});

test('a diversion to another genuine machine of the same maker, image, policy and owner is refused', async () => {
  const policyFile = join(folder, 'owned.yaml');
  await writeFile(policyFile, policyOf(clinic.key));
  const app = join(root, 'examples/clinic');
  const bundle = await buildBundle({
    policyFile,
    protoDir: join(app, 'proto'),
    handlersEntry: join(app, 'handlers/index.ts'),
  });
  await using cleanup = new AsyncDisposableStack();
  const [own, other] = await Promise.all([bootAttested(bundle), bootAttested(bundle)]);
  for (const machine of [own, other]) cleanup.defer(() => machine.stop());
  const { ek } = own.runtime.statement.device;
  assert(ek !== null);
  const signed = signDeployment(deployment({ policy: bundle.policy, devices: [`ek:${ek}`] }), clinic.sign);
  const all = [own, other].map(({ references: { anchors } }) => anchors);
  const references: References = {
    ...own.references,
    owner: clinic.key,
    deployments: [signed],
    anchors: {
      ...own.references.anchors,
      unsafeSwtpmRoots: all.flatMap(({ unsafeSwtpmRoots }) => unsafeSwtpmRoots),
      certificates: all.flatMap(({ certificates }) => certificates),
    },
  };
  (await connect(own.target, { references })).close();
  (await connect(other.target, { references: { ...references, owner: 'any', deployments: [] } })).close();
  await assert.rejects(connect(other.target, { references }), (error) => {
    assert(error instanceof VerdictError);
    assert.deepEqual(failing(error.verdict.checks), ['deployment']);
    return true;
  });
});

describe('a verdict document', () => {
  async function verdict(): Promise<Verdict> {
    return verdictOf(server.references);
  }

  test('comes back as it was', async () => {
    const document = verdictDocument(await verdict(), { at: Date.now(), asOf: Date.now() });
    assert.deepEqual(parseVerdictDocument(utf8(JSON.stringify(document))), document);
  });

  test('with a check left out, turned green or said twice is refused', async () => {
    const good = await verdict();
    const parse = (changed: Partial<Verdict>) => () =>
      parseVerdictDocument(
        utf8(JSON.stringify(verdictDocument({ ...good, ...changed }, { at: Date.now(), asOf: Date.now() }))),
      );
    const stripped = good.checks.filter(({ outcome }) => outcome !== 'not run');
    assert.ok(stripped.length < good.checks.length);
    undecodable('syntax', parse({ checks: stripped }));
    for (const { id } of good.checks)
      undecodable('syntax', parse({ checks: good.checks.filter((each) => each.id !== id) }));
    undecodable('syntax', parse({ ok: false }));
    const failed = good.checks.map((check) =>
      check.id === 'policy' ? { ...check, outcome: 'failed' as const } : check,
    );
    undecodable('syntax', parse({ checks: failed }));
    undecodable('syntax', parse({ checks: [...good.checks, ...good.checks.slice(0, 1)] }));
    undecodable('syntax', parse({ platform: 'simulated' }));
  });

  test('with a required check said to be none, or not to have been run, is refused', async () => {
    const good = await verdict();
    const parse = (checks: Verdict['checks']) => () =>
      parseVerdictDocument(
        utf8(JSON.stringify(verdictDocument({ ...good, checks }, { at: Date.now(), asOf: Date.now() }))),
      );
    for (const { id } of good.checks.filter(({ required }) => required)) {
      const waived = { outcome: 'not run', required: false } as const;
      const silent = [{ required: false }, { outcome: 'failed', required: false } as const];
      for (const change of isAlwaysRun(id) ? [waived, ...silent] : silent) {
        undecodable('syntax', parse(good.checks.map((check) => (check.id === id ? { ...check, ...change } : check))));
      }
    }
    // Where references name no image, one failed check stands for all registers: it fails the verdict with them.
    const image = { id: 'image', outcome: 'failed', required: false, detail: 'no image' } as const;
    const bare = good.checks.filter(({ id }) => id !== 'firmware' && !id.startsWith('register.'));
    undecodable('syntax', parse([...bare, image]));
  });

  test('has the published schema', async () => {
    const published = JSON.parse(await readFile(join(root, 'docs/audit/verdict.schema.json'), 'utf8')) as object;
    assert.deepEqual(published, JSON.parse(JSON.stringify(verdictJsonSchema())));
  });
});

test('a result is dated when it was made, whatever time it was held against', async () => {
  const channel = await connect(server.target, { references: server.references });
  channel.close();
  const verifier = owner();
  const at = (name: string): string => join(folder, name);
  await writeFile(at('dated.pem'), verifier.pem);
  await writeFile(at('dated'), channel.attestation.evidence);
  await writeFile(at('dated.json'), JSON.stringify(server.references));
  const began = Date.now();
  const { stdout } = await run(process.execPath, [
    join(root, 'cli/src/main.ts'),
    ...['verify', at('dated'), '--references', at('dated.json'), '--as-of', '2099-11-20T12:00:00Z', '--json'],
    ...['--ear', at('dated.jwt'), '--ear-key', at('dated.pem')],
  ]);
  const { receipt: _, ...document } = JSON.parse(stdout) as { receipt?: unknown };
  const read = parseVerdictDocument(utf8(JSON.stringify(document)));
  assert.equal(read.asOf, '2099-11-20T12:00:00.000Z');
  const claims = await verifyEar(await readFile(at('dated.jwt'), 'utf8'), ed25519Spki(verifier.key), 'EdDSA');
  assert.equal(claims.submods.tpm?.['ear.enclaim.as-of'], '2099-11-20T12:00:00.000Z');
  for (const made of [Date.parse(read.at), claims.iat * 1000 + 999]) {
    assert.ok(began <= made && made <= Date.now() + 999, `made ${new Date(made).toISOString()}`);
  }
});

test('at the command line: sign, verify as JSON, and as a signed attestation result', async () => {
  const at = (name: string): string => join(folder, name);
  const enclaim = (...args: string[]) => run(process.execPath, [join(root, 'cli/src/main.ts'), ...args]);
  const channel = await connect(server.target, { references: server.references });
  channel.close();
  const verifier = owner();
  await writeFile(at('owner.pem'), clinic.pem);
  await writeFile(at('verifier.pem'), verifier.pem);
  await writeFile(at('evidence'), channel.attestation.evidence);
  await writeFile(at('references.json'), JSON.stringify({ ...server.references, owner: clinic.key }));
  await writeFile(at('policy.yaml'), policyOf());
  const signing = ['deployment', 'sign', '--policy', at('policy.yaml'), '--device', `ak:${server.attestationKey}`];
  await assert.rejects(
    enclaim(...signing, '--key', at('owner.pem'), '--not-after', '2099-01-01T00:00:00Z', '-o', at('deployment.json')),
    /as its owner, the key is/,
    'the policy names another owner',
  );
  await writeFile(at('own.yaml'), policyOf(clinic.key));
  const own = signing.with(3, at('own.yaml'));
  await enclaim(...own, '--key', at('owner.pem'), '--not-after', '2099-01-01T00:00:00Z', '-o', at('own.json'));
  const { deployment: signed } = parseDeployment(await readFile(at('own.json')));
  await verifyDeployment(parseDeployment(await readFile(at('own.json'))), clinic.key);
  assert.deepEqual(signed.devices, [`ak:${server.attestationKey}`]);
  await writeFile(at('deployment.json'), JSON.stringify(signDeployment(deployment(), clinic.sign)));
  const files = [at('evidence'), '--references', at('references.json'), '--deployment', at('deployment.json')];
  await writeFile(at('any.json'), JSON.stringify({ ...server.references, owner: 'any' }));
  for (const command of [
    ['verify', at('evidence')],
    ['call', server.target],
    ['proxy', server.target],
  ]) {
    await assert.rejects(
      enclaim(...command, '--references', at('any.json'), '--deployment', at('deployment.json')),
      /AppraisalError references: .*owner "any".*deployments/,
      command[0],
    );
  }
  const ear = ['--ear', at('ear.jwt'), '--ear-key', at('verifier.pem')];
  const { stdout } = await enclaim('verify', ...files, '--json', ...ear);
  const { receipt: _, ...document } = JSON.parse(stdout) as { receipt?: unknown };
  assert.equal(parseVerdictDocument(utf8(JSON.stringify(document))).verdict.ok, true);
  const token = await readFile(at('ear.jwt'), 'utf8');
  const claims = await verifyEar(token, ed25519Spki(verifier.key), 'EdDSA');
  assert.equal(claims.submods.tpm?.['ear.status'], 'warning');
  // A result with its "not run" checks stripped is not the one that was signed.
  const [header = '', payload = '', signature = ''] = token.split('.');
  const changed = JSON.parse(Buffer.from(payload, 'base64url').toString()) as typeof claims;
  const checks = changed.submods.tpm?.['ear.enclaim.checks'] as { outcome: string }[];
  const kept = checks.filter(({ outcome }) => outcome !== 'not run');
  assert.ok(kept.length < checks.length);
  checks.splice(0, checks.length, ...kept);
  const forged = [header, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.');
  await assert.rejects(verifyEar(forged, ed25519Spki(verifier.key), 'EdDSA'), { code: 'signature' });
  const { verdict } = await verifySaved(channel.attestation.evidence, { references: server.references });
  assert.equal(verdict.ok, true);
});
