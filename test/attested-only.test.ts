/** False if this fails: a method that the policy keeps to attested connections answers no caller who was given no evidence. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectPlain, type IncomingHttpHeaders } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { connect } from '@enclaim/client';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { accept, parseDemand, parsePolicy } from '@enclaim/policy-schema';
import { isAttestedOnly } from '@enclaim/policy-schema/admission';
import { Client, credentials, status } from '@grpc/grpc-js';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';

const clinic = join(import.meta.dirname, '../examples/clinic');
const POLICY = await readFile(join(clinic, 'policy.yaml'), 'utf8');
const READ = '/clinic.v1.Intake/Read';
const PLAIN = /answers on attested connections \(enclaim-h2\) alone/;

/** The clinic, whose policy says this of attested connections. */
async function clinicWith(attested: string): Promise<BuiltBundle> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-attested-only-'));
  try {
    const policyFile = join(folder, 'policy.yaml');
    await writeFile(policyFile, `${POLICY}\naccess:\n  attested: ${attested}\n`);
    return await buildBundle({
      policyFile,
      protoDir: join(clinic, 'proto'),
      handlersEntry: join(clinic, 'handlers/index.ts'),
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Headers and trailers of what a connection of its own answers. */
async function plainly(port: number, more: Record<string, string> = {}, path = READ): Promise<IncomingHttpHeaders> {
  const session: ClientHttp2Session = connectPlain(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers', ':path': path, ...more };
  const stream = session.request(headers);
  const said: IncomingHttpHeaders = {};
  stream.on('response', (each) => Object.assign(said, each));
  stream.on('trailers', (each) => Object.assign(said, each));
  stream.resume().end(Buffer.alloc(5));
  await once(stream, 'close');
  session.destroy();
  return said;
}

describe('under a policy that keeps personal data to attested connections', () => {
  let server: AttestedRuntime;
  before(async () => {
    server = await bootAttested(await clinicWith('personal'));
  });
  after(() => server.stop());

  test('a call on plain h2 is refused before its handler, whatever its caller says of itself', async () => {
    const claims = [{}, { 'enclaim-attested': '1' }, { 'enclaim-attested': '1', 'enclaim-connection': '1' }];
    for (const more of claims) {
      const said = await plainly(server.runtime.port, more);
      assert.equal(said['grpc-status'], String(status.FAILED_PRECONDITION), JSON.stringify(said));
      assert.match(decodeURIComponent(String(said['grpc-message'])), PLAIN);
      const details = Buffer.from(String(said['grpc-status-details-bin']), 'base64').toString('latin1');
      assert.match(details, /UNATTESTED/);
      assert.match(details, /\/access\/attested/);
    }
  });

  test('(control) the same call on an attested channel comes to the handler, also while a plain one is refused', async () => {
    const channel = await connect(server.target, { references: server.references });
    try {
      const client = new Client('x', credentials.createInsecure(), { channelOverride: channel });
      const same = (bytes: Buffer): Buffer => bytes;
      const read = (): Promise<number> =>
        new Promise((resolve) => {
          client.makeUnaryRequest(READ, same, same, Buffer.alloc(0), (error) => resolve(error?.code ?? status.OK));
        });
      const [code, said] = await Promise.all([read(), plainly(server.runtime.port)]);
      assert.equal(code, status.NOT_FOUND);
      assert.equal(said['grpc-status'], String(status.FAILED_PRECONDITION));
      assert.equal(await read(), status.NOT_FOUND);
    } finally {
      channel.close();
    }
  });

  test('a connection that names the protocol and asks for no evidence carries no call', async () => {
    const { port } = server.runtime;
    const socket = connectTls({ port, host: '127.0.0.1', ALPNProtocols: ['enclaim-h2'], rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const session = connectPlain('https://127.0.0.1', { createConnection: () => socket });
    session.on('error', () => {});
    const ended = new Promise((resolve) => session.on('close', resolve));
    const stream = session.request({ ':method': 'POST', ':path': READ, 'content-type': 'application/grpc' });
    let answered = false;
    stream.on('response', () => (answered = true)).on('error', () => {});
    stream.end(Buffer.alloc(5));
    await ended;
    assert.equal(answered, false);
  });

  test('health needs no evidence', async () => {
    const said = await plainly(server.runtime.port, {}, '/grpc.health.v1.Health/Check');
    assert.equal(said['grpc-status'], '0');
  });
});

test('(control) without such a policy, plain h2 is answered', async () => {
  const server = await bootAttested(
    await buildBundle({
      policyFile: join(clinic, 'policy.yaml'),
      protoDir: join(clinic, 'proto'),
      handlersEntry: join(clinic, 'handlers/index.ts'),
    }),
  );
  try {
    const said = await plainly(server.runtime.port);
    assert.equal(said['grpc-status'], String(status.NOT_FOUND));
  } finally {
    await server.stop();
  }
});

test('a policy that asks it for personal data and has none asks for nothing, and is refused', () => {
  const none = POLICY.replaceAll(', subjects: [patient]', '');
  assert.ok(parsePolicy(none));
  assert.throws(() => parsePolicy(`${none}\naccess: { attested: personal }\n`), /nothing is asked of any caller/);
});

test('which methods are meant, and what a client may demand of it', () => {
  const methods = ['clinic.v1.Intake/Submit', 'clinic.v1.Intake/Read'];
  const rows: readonly [string | null, readonly boolean[], boolean][] = [
    [null, [false, false], false],
    ['all', [true, true], true],
    ['personal', [true, true], true],
    ['[clinic.v1.Intake/Read]', [false, true], false],
  ];
  for (const [attested, only, met] of rows) {
    const policy = parsePolicy(attested === null ? POLICY : `${POLICY}\naccess:\n  attested: ${attested}\n`);
    assert.deepEqual(
      methods.map((id) => isAttestedOnly(policy, id)),
      only,
      String(attested),
    );
    const [result] = accept(policy, [parseDemand('attested(personal.health)')]);
    assert.deepEqual([result?.ok, result?.strength], [met, 'enforced'], String(attested));
  }
});
