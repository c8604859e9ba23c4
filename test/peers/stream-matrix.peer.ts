/**
 * The stream matrix by clients of other languages, directly and through the proxy: `scripts/test-engines`. Each is built from
 * the lock file of its folder. By grpc-js and Python's grpcio it is test/stream-matrix.test.ts.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Need, needs, PYTHON } from '../support/machine-needs.ts';
import { shownCertificate } from '../support/shown-certificate.ts';
import { CELLS, holdProgram, type StreamServer, startStreams } from '../support/stream-cells.ts';

/** A client of another language. */
interface Peer {
  readonly need: Need;
  /** Builds it from its sources in `from`, into `to`. @returns the command that runs it */
  readonly build: (from: string, to: string) => Promise<readonly string[]> | readonly string[];
}

/** By their folders. */
const PEERS: Readonly<Record<string, Peer>> = {
  'grpc-go': {
    need: 'go',
    build: (from, to) => {
      run(from, 'go', 'build', '-mod=readonly', '-o', join(to, 'client'), './stream-matrix');
      return [join(to, 'client')];
    },
  },
  grpclib: {
    need: "python's venv",
    build: (from, to) => {
      run(from, PYTHON, '-m', 'venv', to);
      const locked = ['--require-hashes', '--only-binary', ':all:', '--no-deps', '--disable-pip-version-check'];
      run(from, join(to, 'bin/pip'), 'install', '-q', ...locked, '-r', 'requirements.txt');
      return [join(to, 'bin/python'), join(from, 'stream_matrix.py')];
    },
  },
  tonic: {
    need: 'cargo',
    build: (from) => {
      // Kept, as Go and Maven keep what they made: it is most of the minutes.
      const kept = join(import.meta.dirname, '../../.cache/peers/tonic');
      run(from, 'cargo', 'build', '--locked', '--quiet', '--target-dir', kept);
      return [join(kept, 'debug/stream-matrix')];
    },
  },
  'grpc-java': {
    need: 'maven',
    build: async (from, to) => {
      const jars = join(to, 'jars');
      // Maven has no lock of its own: it fetches, and every jar is held against the list.
      const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
      run(from, 'mvn', '-q', '-B', plugin, `-DoutputDirectory=${jars}`);
      const locked = await readFile(join(from, 'jars.sha256'), 'utf8');
      run(jars, 'sha256sum', '--check', '--strict', '--quiet', join(from, 'jars.sha256'));
      assert.deepEqual((await readdir(jars)).sort(), locked.match(/\S+\.jar$/gm)?.sort());
      run(from, 'javac', '-d', join(to, 'classes'), '-cp', `${jars}/*`, 'StreamMatrix.java');
      return ['java', '-cp', `${join(to, 'classes')}:${jars}/*`, 'StreamMatrix'];
    },
  },
};

function run(folder: string, program: string, ...words: readonly string[]): void {
  execFileSync(program, words, { cwd: folder, stdio: 'inherit' });
}

let streams: StreamServer;
let folder: string;
let certificate: string;
before(async () => {
  streams = await startStreams();
  folder = await mkdtemp(join(tmpdir(), 'enclaim-peers-'));
  certificate = join(folder, 'server.pem');
  await writeFile(certificate, await shownCertificate(streams.server.runtime.port));
});
after(async () => {
  await rm(folder, { recursive: true });
  await streams[Symbol.asyncDispose]();
});

for (const [name, { need, build }] of Object.entries(PEERS)) {
  describe(name, needs(need), () => {
    let command: readonly string[];
    before(async () => {
      command = await build(join(import.meta.dirname, name), await mkdtemp(join(folder, `${name}-`)));
    });

    test('directly', async (t) => {
      // By name: it is what the certificate is held against.
      await holdProgram(command, `localhost:${streams.server.runtime.port}`, certificate);
      t.diagnostic(`${CELLS.length} cells`);
    });

    test('through the proxy', async (t) => {
      streams.receipts.length = 0;
      await holdProgram(command, streams.proxy.address);
      assert.equal(streams.receipts.length, CELLS.length, 'each with its receipt');
      t.diagnostic(`${CELLS.length} cells, each with its receipt`);
    });
  });
}
