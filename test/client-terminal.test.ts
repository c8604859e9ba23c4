/** What a server says, at a terminal: it can neither move the cursor, hide a line nor pass for one of ours. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../runtime/src/gen/grpc/reflection/v1/reflection_pb.js';
import { HANGS_MS } from './support/eventually.ts';
import { type PretendServer, startPretendServer } from './support/pretend-server.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../cli/src/main.ts');

/** Cursor home, clear, and a verdict of its own; C1 controls and an override of direction beside them. */
const EVIL = '\u001b[1;1H\u001b[0J\u009b2Jverdict: ok\u202e';
const RAW = /[^\P{C}\n]/u;

/** How the methods of the echo service are declared, whose answers are read as another message than was sent. */
const WRONG = ['Unary', 'ServerStream'] as const;

/** An echo service in a package of the server's choosing, whose messages hold one text. */
function echoIn(packageName: string, answer = 'Said'): FileDescriptorProto {
  const said = `.${packageName}.Said`;
  return create(FileDescriptorProtoSchema, {
    name: 'echo.proto',
    package: packageName,
    syntax: 'proto3',
    messageType: [
      {
        name: 'Said',
        field: [{ name: 'text', jsonName: 'text', number: 1, type: Type.STRING, label: Label.OPTIONAL }],
      },
      {
        name: 'Other',
        field: [
          {
            ...{ name: 'other', jsonName: 'other', number: 1, type: Type.MESSAGE, label: Label.OPTIONAL },
            typeName: `.${packageName}.Other`,
          },
        ],
      },
    ],
    service: [
      {
        name: 'Echo',
        method: WRONG.map((name) => ({
          ...{ name, inputType: said, outputType: `.${packageName}.${answer}`, serverStreaming: name !== 'Unary' },
        })),
      },
    ],
  });
}

/** Reflection that shows one file of one service. */
function reflecting(packageName: string, answer?: string): (question: Buffer) => Buffer {
  const shown = toBinary(FileDescriptorProtoSchema, echoIn(packageName, answer));
  return (question) => {
    const { messageRequest } = fromBinary(ServerReflectionRequestSchema, question);
    const messageResponse: MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse'] =
      messageRequest.case === 'listServices'
        ? { case: 'listServicesResponse', value: { service: [{ name: `${packageName}.Echo` }] } }
        : { case: 'fileDescriptorResponse', value: { fileDescriptorProto: [shown] } };
    return Buffer.from(
      toBinary(ServerReflectionResponseSchema, create(ServerReflectionResponseSchema, { messageResponse })),
    );
  };
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('a server that writes to the terminal', () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-terminal-'));
  });
  after(() => rm(folder, { recursive: true }));

  async function enclaim(server: PretendServer, ...args: string[]): Promise<Ended> {
    await writeFile(at('references.json'), JSON.stringify(server.references));
    const command = [cli, ...args, '--references', at('references.json')];
    return run(process.execPath, command, { timeout: HANGS_MS }).then(
      (ended) => ({ code: 0, ...ended }),
      (error: Ended) => error,
    );
  }

  test('by the names that it lists', async () => {
    const server = await startPretendServer({ reflect: reflecting(`test.v1${EVIL}`) });
    try {
      const { code, stdout, stderr } = await enclaim(server, 'call', server.target);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^test\.v1\\u\{1b\}.*\.Echo\/Unary {2}test\.v1\\u\{1b\}/);
      assert.doesNotMatch(stdout, RAW);
    } finally {
      server.stop();
    }
  });

  test('by its answer, and by the label of its receipt, now and in the file', async () => {
    const decision = { result: 'allow', label: [EVIL], returned: [] } as const;
    const server = await startPretendServer({ reflect: reflecting('test.v1'), receipt: { decision } });
    try {
      const data = ['--data', JSON.stringify({ text: EVIL }), '--save-receipt', at('it.enclaim-receipt')];
      const sent = await enclaim(server, 'call', server.target, 'test.v1.Echo/Unary', ...data);
      assert.equal(sent.code, 0, sent.stderr);
      assert.doesNotMatch(sent.stdout + sent.stderr, RAW);
      assert.deepEqual(JSON.parse(sent.stdout), { text: EVIL }, 'it is the same JSON still');
      const shown = await enclaim(server, 'verify', at('it.enclaim-receipt'), '--json');
      assert.equal(shown.code, 0, shown.stderr);
      assert.doesNotMatch(shown.stdout + shown.stderr, RAW);
      assert.deepEqual((JSON.parse(shown.stdout) as { receipt: { decision: object } }).receipt.decision, decision);
    } finally {
      server.stop();
    }
  });

  for (const method of WRONG) {
    test(`by an answer of ${method} that has no JSON: its bytes are shown, and its receipt kept`, async () => {
      const server = await startPretendServer({ reflect: reflecting('test.v1', 'Other') });
      try {
        const file = at(`${method}.enclaim-receipt`);
        // The first byte of a message is how often the stream of a pretended server repeats it.
        const data = ['--data', JSON.stringify({ text: EVIL }), '--save-receipt', file];
        const { code, stdout, stderr } = await enclaim(
          server,
          'call',
          server.target,
          `test.v1.Echo/${method}`,
          ...data,
        );
        assert.equal(code, 1, stderr);
        const bytes = Buffer.from(`\n${String.fromCharCode(Buffer.byteLength(EVIL))}${EVIL}`);
        assert.deepEqual(new Set(stdout.trim().split('\n')), new Set([bytes.toString('base64')]));
        assert.match(stderr, /no JSON of a response of \d+ bytes, in base64 instead/);
        assert.match(stderr, /receipt: ok/);
        assert.match(stderr, /enclaim: AnswerError no-json: \d+ of the responses could not be shown as JSON/);
        assert.doesNotMatch(stderr, /\n {4}at /);
        const shown = await enclaim(server, 'verify', file, '--json');
        assert.equal(shown.code, 0, shown.stderr);
      } finally {
        server.stop();
      }
    });
  }
});
