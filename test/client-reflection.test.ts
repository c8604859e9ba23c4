/** Reflection of a server that has shown its evidence and then does as it likes: it keeps nobody waiting. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ChannelError, type ChannelErrorCode, connect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../runtime/src/gen/grpc/reflection/v1/reflection_pb.js';
import { HANGS_MS } from './support/eventually.ts';
import { type PretendServer, startPretendServer } from './support/pretend-server.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../cli/src/main.ts');

const nothing = create(ServerReflectionResponseSchema, {
  messageResponse: { case: 'listServicesResponse', value: {} },
});
/** Servers that answer a question in their way, and never end the stream. */
const SILENT = (): undefined => undefined;
const UNENDING = (): Buffer => Buffer.from(toBinary(ServerReflectionResponseSchema, nothing));
const GARBAGE = (): Buffer => Buffer.from([0xff]);

async function serving<T>(reflect: (question: Buffer) => Buffer | undefined, use: (it: PretendServer) => Promise<T>) {
  const server = await startPretendServer({ reflect });
  try {
    return await use(server);
  } finally {
    server.stop();
  }
}

describe('describeServices', () => {
  const describing = (reflect: (question: Buffer) => Buffer | undefined, within = HANGS_MS) =>
    serving(reflect, async ({ target, references }) => {
      const channel = await connect(target, { references });
      try {
        return await describeServices(channel, { deadline: Date.now() + within });
      } finally {
        channel.close();
      }
    });
  const refused = (code: ChannelErrorCode) => (error: unknown) => error instanceof ChannelError && error.code === code;

  test('ends at its deadline where no answer comes', async () => {
    await assert.rejects(describing(SILENT, 1000), refused('timeout'));
  });

  test('takes the first answer of a stream that does not end', async () => {
    assert.deepEqual((await describing(UNENDING)).services, []);
  });

  test('asks by name for what an answer leaves out, and for nothing twice', async () => {
    const files: Record<string, MessageInitShape<typeof FileDescriptorProtoSchema>> = {
      'a.proto': { dependency: ['b.proto'], service: [{ name: 'One' }, { name: 'Two' }] },
      'b.proto': { dependency: ['c.proto'] },
      'c.proto': { messageType: [{ name: 'C' }] },
    };
    const asked: string[] = [];
    const reflect = (question: Buffer): Buffer => {
      const { messageRequest } = fromBinary(ServerReflectionRequestSchema, question);
      const wanted = messageRequest.case === 'fileByFilename' ? messageRequest.value : 'a.proto';
      asked.push(messageRequest.case === 'listServices' ? 'services' : wanted);
      const file = create(FileDescriptorProtoSchema, { name: wanted, syntax: 'proto3', ...files[wanted] });
      const fileDescriptorProto = [toBinary(FileDescriptorProtoSchema, file)];
      const messageResponse: MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse'] =
        messageRequest.case === 'listServices'
          ? { case: 'listServicesResponse', value: { service: [{ name: 'One' }, { name: 'Two' }] } }
          : { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
      const answer = create(ServerReflectionResponseSchema, { messageResponse });
      return Buffer.from(toBinary(ServerReflectionResponseSchema, answer));
    };
    const { registry } = await describing(reflect);
    assert.equal(registry.getMessage('C')?.name, 'C');
    assert.deepEqual(asked, ['services', 'a.proto', 'b.proto', 'c.proto']);
  });

  test('refuses an answer that is none', async () => {
    await assert.rejects(describing(GARBAGE), refused('protocol'));
  });
});

describe('enclaim call', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-reflection-'));
  });
  after(() => rm(folder, { recursive: true }));

  for (const [name, reflect, code] of [
    ['does not answer', SILENT, 4],
    ['does not end its answer', UNENDING, 0],
  ] as const) {
    test(`ends where reflection ${name}`, () =>
      serving(reflect, async ({ target, references }) => {
        const file = join(folder, 'references.json');
        await writeFile(file, JSON.stringify(references));
        const ended = await run(
          process.execPath,
          [cli, 'call', target, '--references', file, '--timeout', code === 0 ? '250' : '5'],
          {
            timeout: HANGS_MS,
          },
        ).then(
          () => ({ code: 0, stderr: '' }),
          (error: { code: number | null; stderr: string }) => error,
        );
        assert.equal(ended.code, code, 'null: it had to be killed');
        if (code !== 0) assert.match(ended.stderr, /ChannelError timeout: reflection/);
      }));
  }
});
