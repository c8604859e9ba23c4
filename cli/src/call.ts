/** `enclaim call`: one call, of any of the four kinds, to a server that has shown its evidence. */

import { type DescMethod, type FileRegistry, fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import { type AttestedChannel, ChannelError, type CheckedReceipt, connect, receiptFile } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import { type ProveOptions, prove, type ReceiptProof } from '@enclaim/client/proof';
import { ExactJson } from '@enclaim/policy-schema/admission';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Command } from 'commander';
import { CALL_LIMITS } from './call-limits.ts';
import { Health } from './gen/grpc/health/v1/health_pb.js';
import { collect, readDemands, readInput, readNewerThan, readPolicies, writeOutput } from './input.ts';
import { printable, printableJson } from './printable.ts';
import { proofLines } from './proof-path.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

interface Options {
  readonly data: string;
  readonly header: string[];
  readonly references: string;
  readonly referencesKey?: string;
  readonly deployment: string[];
  readonly newerThan?: string;
  readonly require: string[];
  readonly policyChain: string[];
  readonly saveEvidence?: string;
  readonly saveReceipt?: string;
  readonly prove?: true;
  readonly timeout: string;
  readonly quiet?: true;
}

export function register(program: Command): void {
  program
    .command('call')
    .description('verify a server, then call a method of it, or list what it exposes')
    .argument('<target>', 'HOST:PORT')
    .argument('[method]', 'package.Service/Method; left out, the exposed methods are listed')
    .option(
      '-d, --data <json>',
      'request as proto3 JSON, or @FILE (@- is standard input); a client stream is an array of them',
      '{}',
    )
    .option('-H, --header <name: value>', 'metadata of the call, -bin values as base64; repeatable', collect, [])
    .requiredOption('--references <file>', 'reference values and trust anchors (enclaim references)')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--newer-than <time>', 'the boot must have begun then or later: RFC 3339, or P7D for a week ago')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option(
      '--require <demand>',
      'what the attested policy must hold, such as "claim encryption-at-rest"; repeatable',
      collect,
      [],
    )
    .option(
      '--policy-chain <file>',
      'a policy that --require neverWeakerThan names, to compare with; repeatable',
      collect,
      [],
    )
    .option('--save-evidence <file>', 'keep the evidence of the connection')
    .option('--save-receipt <file>', 'keep the receipt, with the messages and the evidence')
    .option('--prove', 'wait until a quote covers the record of the call; --save-receipt keeps the proof')
    .option('--timeout <seconds>', 'for the verdict, and again for what is asked then', '60')
    .option('--quiet', 'print no verdict that is ok')
    .addHelpText('after', CALL_LIMITS)
    .action(call);
}

async function call(target: string, method: string | undefined, options: Options): Promise<void> {
  const timeout = Number(options.timeout) * 1000;
  if (!(timeout > 0)) throw new UsageError(`--timeout ${options.timeout}: expected seconds`);
  const [service = '', name = '', ...rest] = method?.split('/') ?? [];
  if (method !== undefined && (service === '' || name === '' || rest.length > 0))
    throw new UsageError(`${method}: expected package.Service/Method`);
  const json = await requestJson(options.data);
  const metadata = metadataOf(options.header);
  const references = await readReferences(options);
  const demands = readDemands(options.require);
  const newerThan = readNewerThan(options.newerThan);
  const known = await readPolicies(options.policyChain);
  const keep = options.saveReceipt;
  let receipt: CheckedReceipt | undefined;
  const channel = await connect(target, {
    references,
    demands,
    timeout,
    newerThan,
    known,
    onReceipt: (checked) => {
      receipt ??= checked;
    },
  });
  try {
    const { attestation } = channel;
    if (!options.quiet) printVerdict(attestation.verdict);
    if (options.saveEvidence !== undefined) await writeOutput(options.saveEvidence, attestation.evidence);
    const deadline = Date.now() + timeout;
    const { services, registry } = await describeServices(channel, { deadline });
    if (method === undefined) return list(services, registry);
    const descriptor = methodOf(service, name, registry);
    const requests = requestsOf(descriptor, json, registry);
    let unread = 0;
    const print = (response: Uint8Array): void => {
      if (!printResponse(descriptor, response, registry)) unread++;
    };
    // A single answer is shown once its receipt is good. A stream is shown as it comes, and its end
    // says whether it counts.
    const streams = descriptor?.methodKind === 'server_streaming' || descriptor?.methodKind === 'bidi_streaming';
    const onMessage = streams ? print : () => {};
    let refusal: unknown;
    try {
      const response = await stream(channel, `/${method}`, requests, { metadata, deadline, onMessage });
      if (!streams) for (const message of response) print(message);
    } catch (error) {
      refusal = error;
      // A refusal that is only counted has none.
      if (receipt === undefined && keep !== undefined) console.error(`receipt: none came, ${keep} is not written`);
      throw error;
    } finally {
      // A refusal's receipt is shown, too: it proves which server refused, and why.
      if (receipt !== undefined) {
        const against = { references, demands, newerThan, known, timeout };
        const proof = options.prove ? await proofOf(channel, receipt, keep, against, refusal) : undefined;
        await showReceipt(receipt, keep, options.references, references, proof);
      }
    }
    if (receipt === undefined && (keep !== undefined || options.prove))
      throw new ChannelError('receipt', `${method} came without a receipt${keep ? `: ${keep} is not written` : ''}`);
    // Last: what was answered, and the proof of it, is there by now.
    if (unread > 0) throw new AnswerError(unread);
  } finally {
    channel.close();
  }
}

/** Prints what the server signed, and keeps it with the messages if it is told to. */
async function showReceipt(
  receipt: CheckedReceipt,
  file: string | undefined,
  path: string,
  { anchors }: References,
  proof: ReceiptProof | undefined,
): Promise<void> {
  const { sequence, decision, record, status } = receipt.body;
  const label = decision.label.map(printable).join(', ') || 'none';
  const ended = status === 0 ? '' : ` of ${STATUS_NAMES[status] ?? status}`;
  console.error(`receipt: ok${ended}  number ${sequence}, label ${label}, record ${record}`);
  if (proof !== undefined)
    console.error(proofLines(receipt.body, proof.record, proof.verdict, []).map(printable).join('\n'));
  if (file === undefined) return;
  await writeOutput(file, receiptFile(receipt, undefined, proof?.bytes));
  const { ak } = receipt.attestation.statement.device;
  // Whose TPM it is was shown on this connection alone: a file cannot be asked.
  const pin = ak === null || anchors.attestationKeys.includes(ak) ? '' : ` --ak ${ak}`;
  console.error(`receipt: later  enclaim verify ${printable(file)} --references ${printable(path)}${pin}`);
}

/**
 * Waits for the proof of a receipt. If none comes, the receipt is kept with its connection's
 * evidence. The error of a call that was refused is told in place of the proof's.
 */
async function proofOf(
  channel: AttestedChannel,
  receipt: CheckedReceipt,
  keep: string | undefined,
  options: ProveOptions,
  refusal: unknown,
): Promise<ReceiptProof | undefined> {
  try {
    return await prove(channel, receipt, options);
  } catch (error) {
    if (keep !== undefined) {
      await writeOutput(keep, receiptFile(receipt));
      console.error(
        `receipt: no proof of its record came; ${printable(keep)} has the evidence of the connection alone`,
      );
    }
    if (refusal === undefined) throw error;
    console.error(`receipt: no proof of its record came: ${printable((error as Error).message)}`);
    return undefined;
  }
}

/** A method that the server shows, or one of its health, which it need not show. */
function methodOf(service: string, name: string, registry: FileRegistry): DescMethod | undefined {
  const shown = registry.getService(service);
  const known = shown ?? (service === Health.typeName ? Health : undefined);
  return known?.methods.find((each) => each.name === name);
}

/**
 * Prints a response as JSON. If it has no JSON form, prints it in base64 with the reason.
 * @returns whether it has a JSON form
 */
function printResponse(descriptor: DescMethod | undefined, response: Uint8Array, registry: FileRegistry): boolean {
  try {
    if (descriptor === undefined) throw new Error('the server shows no such method');
    const { output } = descriptor;
    console.log(printableJson(toJson(output, fromBinary(output, response), { registry })));
    return true;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.error(`no JSON of a response of ${response.length} bytes, in base64 instead: ${printable(why)}`);
    console.log(toBase64(response));
    return false;
  }
}

/** One line for each method: its name, and what it takes and gives. */
function list(services: readonly string[], registry: FileRegistry): void {
  for (const service of services) {
    for (const { name, methodKind, input, output } of registry.getService(service)?.methods ?? []) {
      const side = (kind: DescMethod['methodKind'], type: string): string =>
        methodKind === kind || methodKind === 'bidi_streaming' ? `stream ${type}` : type;
      const [takes, gives] = [side('client_streaming', input.typeName), side('server_streaming', output.typeName)];
      console.log(printable(`${service}/${name}  ${takes} → ${gives}`));
    }
  }
}

/**
 * The messages to send. Without a descriptor this is an empty one: the server's own answer says
 * whether it has such a method.
 */
function requestsOf(descriptor: DescMethod | undefined, json: ExactJson, registry: FileRegistry): Uint8Array[] {
  if (descriptor === undefined) return [new Uint8Array()];
  const { methodKind } = descriptor;
  if (methodKind === 'unary' || methodKind === 'server_streaming') return [encode(descriptor, json, registry)];
  const { elements } = json;
  if (elements === undefined) throw new UsageError('--data for a client stream: expected an array of requests');
  return elements.map((each) => encode(descriptor, each, registry));
}

function encode({ input }: DescMethod, json: ExactJson, registry: FileRegistry): Uint8Array {
  try {
    return toBinary(input, json.toMessage(input, { registry }));
  } catch (cause) {
    throw new UsageError(`--data is not a ${input.typeName}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Sends the requests, hands on each response as it comes, and resolves with all of them.
 * @throws CallError
 */
function stream(
  channel: AttestedChannel,
  path: string,
  requests: readonly Uint8Array[],
  call: { metadata: Metadata; deadline: number; onMessage: (response: Uint8Array) => void },
): Promise<Uint8Array[]> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    const responses: Uint8Array[] = [];
    // On the wire every kind is a bidirectional stream.
    const open = client.makeBidiStreamRequest(path, same, same, call.metadata, { deadline: call.deadline });
    open.on('data', (response: Buffer) => {
      responses.push(response);
      call.onMessage(response);
    });
    open.on('error', (error: ServiceError) => reject(new CallError(error)));
    open.on('end', () => resolve(responses)); // after 'error', where the call or its receipt failed
    for (const request of requests) open.write(Buffer.from(request));
    open.end();
  });
}

/** The call is good, and so is its receipt; what came is not what the server says it to be. */
class AnswerError extends Error {
  override readonly name = 'AnswerError';
  readonly code = 'no-json';

  constructor(count: number) {
    super(`${count} of the responses could not be shown as JSON: expected a message of the method's type`);
  }
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

function metadataOf(headers: readonly string[]): Metadata {
  const metadata = new Metadata();
  for (const header of headers) {
    const [, name = '', value = ''] = /^([\w.-]+):\s*(.*)$/.exec(header) ?? [];
    try {
      metadata.add(name, name.endsWith('-bin') ? Buffer.from(fromBase64(value)) : value);
    } catch (cause) {
      throw new UsageError(`--header ${header}: expected NAME: VALUE`, { cause });
    }
  }
  return metadata;
}

async function requestJson(data: string): Promise<ExactJson> {
  const text = data.startsWith('@') ? Buffer.from(await readInput(data.slice(1))).toString('utf8') : data;
  try {
    return ExactJson.parse(text);
  } catch (cause) {
    throw new UsageError(`--data is not JSON: ${(cause as Error).message}`, { cause });
  }
}
