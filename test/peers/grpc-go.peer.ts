/**
 * gRPC's own interoperability cases by grpc-go's own client, directly and through the proxy: `scripts/test-engines`. The client
 * is the one that grpc-go ships, at the version of grpc-go/go.mod; only what it says counts.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type RunningProxy, startProxy } from '@enclaim/client/proxy';
import { buildBundle } from '@enclaim/image';
import { type AttestedRuntime, bootAttested } from '../support/attested-runtime.ts';
import { needs } from '../support/machine-needs.ts';
import { shownCertificate } from '../support/shown-certificate.ts';

/** Names as in grpc/grpc, doc/interop-test-descriptions.md. `custom_metadata` is left out: no handler sees metadata. */
const CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'cancel_after_begin',
  'cancel_after_first_response',
  'timeout_on_sleeping_server',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
] as const;
/** Tells a client that hangs. */
const HANGS_MS = 180_000;

const app = join(import.meta.dirname, 'interop-app');
function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function run(client: string, name: string, port: number, ...more: string[]): Promise<void> {
  const words = [`--test_case=${name}`, '--server_host=localhost', `--server_port=${port}`, ...more];
  const env = { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: 'info' };
  const { stderr } = await promisify(execFile)(client, words, { timeout: HANGS_MS, env });
  // It names the case, and says that it is done: a client that compared nothing would end with 0, too.
  assert.match(stderr, new RegExp(`test case "${name}"[^]* done`), stderr);
}

describe("grpc-go's interop client", needs('go'), () => {
  let folder: string;
  let client: string;
  let server: AttestedRuntime;
  let proxy: RunningProxy;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-interop-'));
    client = join(folder, 'client');
    execFileSync('go', ['build', '-o', client, 'google.golang.org/grpc/interop/client'], {
      cwd: join(import.meta.dirname, 'grpc-go'),
      stdio: 'inherit',
    });
    const bundle = await buildBundle({
      policyFile: join(app, 'policy.yaml'),
      protoDir: join(app, 'proto'),
      handlersEntry: join(app, 'handlers/index.ts'),
    });
    server = await bootAttested(bundle);
    const { target, references } = server;
    proxy = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
    await writeFile(join(folder, 'server.pem'), await shownCertificate(portOf(target)));
  });
  after(async () => {
    await proxy?.close();
    await server?.stop();
    await rm(folder, { recursive: true });
  });

  for (const name of CASES) {
    test(`${name}, directly`, async () => {
      const tls = ['--use_tls', '--use_test_ca', `--ca_file=${join(folder, 'server.pem')}`];
      await run(client, name, portOf(server.target), ...tls, '--server_host_override=localhost');
    });
    test(`${name}, through the proxy`, () => run(client, name, portOf(proxy.address)));
  }
});
