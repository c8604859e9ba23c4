/** `enclaim call`: one unary call to a server that has shown its evidence. */

import {
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type AttestedChannel, type CheckedReceipt, connect, describeServices, receiptFile } from '@enclaim/client';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import type { Command } from 'commander';
import { collect, readDemands, readInput, readReferences, writeOutput } from './input.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

interface Options {
  readonly data: string;
  readonly references: string;
  readonly deployment: string[];
  readonly require: string[];
  readonly saveEvidence?: string;
  readonly saveReceipt?: string;
  readonly timeout: string;
}

export function register(program: Command): void {
  program
    .command('call')
    .description('Verify a server, then call a method of it')
    .argument('<target>', 'HOST:PORT')
    .argument('<method>', 'package.Service/Method')
    .option('-d, --data <json>', 'request as proto3 JSON, or @FILE', '{}')
    .requiredOption('--references <file>', 'reference values and trust anchors (enclaim references)')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option(
      '--require <demand>',
      'what the attested policy must hold, such as "claim encryption-at-rest"; repeatable',
      collect,
      [],
    )
    .option('--save-evidence <file>', 'keep the evidence of the connection')
    .option('--save-receipt <file>', 'keep the receipt, with the messages and the evidence')
    .option('--timeout <seconds>', 'for the verdict, and again for the call', '60')
    .action(call);
}

async function call(target: string, method: string, options: Options): Promise<void> {
  const timeout = Number(options.timeout) * 1000;
  if (!(timeout > 0)) throw new UsageError(`--timeout ${options.timeout}: expected seconds`);
  const [service, name, ...rest] = method.split('/');
  if (!service || !name || rest.length > 0) throw new UsageError(`${method}: expected package.Service/Method`);
  const json = await requestJson(options.data);
  const references = await readReferences(options.references, options.deployment);
  const demands = readDemands(options.require);
  const receipts: CheckedReceipt[] = [];
  const channel = await connect(target, {
    references,
    demands,
    timeout,
    onReceipt: (receipt) => receipts.push(receipt),
  });
  try {
    const { attestation } = channel;
    printVerdict(attestation.verdict);
    if (options.saveEvidence !== undefined) await writeOutput(options.saveEvidence, attestation.evidence);
    const { registry } = await describeServices(channel);
    const descriptor = registry.getService(service)?.methods.find((each) => each.name === name);
    const messages = await exchange(channel, `/${method}`, descriptor, registry, json, Date.now() + timeout);
    const [receipt] = receipts;
    if (receipt !== undefined) {
      const { sequence, decision, record } = receipt.body;
      console.error(`receipt: ok  number ${sequence}, label ${decision.label.join(', ') || 'none'}, record ${record}`);
      if (options.saveReceipt !== undefined) await writeOutput(options.saveReceipt, receiptFile(receipt, messages));
    }
  } finally {
    channel.close();
  }
}

/** Sends one request and prints its answer. @throws CallError */
async function exchange(
  channel: AttestedChannel,
  path: string,
  descriptor: DescMethod | undefined,
  registry: FileRegistry,
  json: JsonValue,
  deadline: number,
): Promise<{ request: Uint8Array[]; response: Uint8Array[] }> {
  if (descriptor !== undefined && descriptor.methodKind !== 'unary') {
    throw new UsageError(`${path.slice(1)} is a streaming method`);
  }
  // Without a descriptor the call goes out empty: the server's own answer says whether it has such a method.
  const request = descriptor === undefined ? new Uint8Array() : encode(descriptor, json, registry);
  const response = await unary(channel, path, Buffer.from(request), deadline);
  if (descriptor !== undefined) {
    const { output } = descriptor;
    console.log(JSON.stringify(toJson(output, fromBinary(output, response), { registry }), undefined, 2));
  }
  return { request: [request], response: [response] };
}

function encode({ input }: DescMethod, json: JsonValue, registry: FileRegistry): Uint8Array {
  try {
    return toBinary(input, fromJson(input, json, { registry }));
  } catch (cause) {
    throw new UsageError(`--data is not a ${input.typeName}: ${(cause as Error).message}`, { cause });
  }
}

function unary(channel: AttestedChannel, path: string, request: Buffer, deadline: number): Promise<Buffer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, request, { deadline }, (error, response) => {
      if (error !== null) reject(new CallError(error));
      else if (response === undefined) reject(new TypeError('grpc-js gave neither error nor response'));
      else resolve(response);
    });
  });
}

/** The server answered with a status other than OK. */
class CallError extends Error {
  override readonly name = 'CallError';
  readonly code: string;

  constructor({ code, details }: ServiceError) {
    super(details);
    this.code = STATUS_NAMES[code] ?? String(code);
  }
}

/** gRPC status codes by number. */
const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

async function requestJson(data: string): Promise<JsonValue> {
  const text = data.startsWith('@') ? Buffer.from(await readInput(data.slice(1))).toString('utf8') : data;
  try {
    return JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new UsageError(`--data is not JSON: ${(cause as Error).message}`, { cause });
  }
}
