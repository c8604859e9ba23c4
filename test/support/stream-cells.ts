/**
 * The cells of the stream matrix: four kinds of call × what the handler takes of the request (test/streams-app) × how the
 * client sends. One table for every client, whatever it is written in.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { CheckedReceipt } from '@enclaim/client';
import { type RunningProxy, startProxy } from '@enclaim/client/proxy';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { status } from '@grpc/grpc-js';
import { type AttestedRuntime, bootAttested } from './attested-runtime.ts';

const SENT = ['a', 'b', 'c'];
const { OK, INTERNAL, NOT_FOUND } = status;
/** What the text of a status is, where there is one. */
const TEXTS: Readonly<Record<number, string>> = {
  [INTERNAL]: 'the handler threw (error ID)',
  [NOT_FOUND]: ` ${'100 % of “case #7”: äöü, 𝄞 %41\r\n '.padStart(255, '€')}`,
};

/** What each method ends in, whoever calls it and however it sends. */
const ENDS: Readonly<Record<string, readonly [status: number, messages: readonly string[]]>> = {
  UnaryAll: [OK, ['a']],
  UnaryNone: [OK, ['none']],
  UnaryThrows: [INTERNAL, []],
  UnaryStatus: [NOT_FOUND, []],
  ServerAll: [OK, ['a']],
  ServerNone: [OK, []],
  ServerThrows: [INTERNAL, ['a']],
  ServerStatus: [NOT_FOUND, ['a']],
  ClientAll: [OK, ['abc']],
  ClientFirst: [OK, ['a']],
  ClientNone: [OK, ['none']],
  ClientThrows: [INTERNAL, []],
  ClientStatus: [NOT_FOUND, []],
  BidiAll: [OK, SENT],
  BidiFirst: [OK, ['a']],
  BidiNone: [OK, ['none', 'at all']],
  BidiThrows: [INTERNAL, SENT],
  BidiStatus: [NOT_FOUND, SENT],
  BidiAfter: [OK, ['abc', 'after']],
};
/** Before each message of a client that sends slowly. */
const PAUSE_MS = 50;
/** Tells a call that hangs. */
export const HANGS_MS = 120_000;

/** How a call ended, as a client saw it. */
export interface EndedCell {
  readonly code: number;
  /** Of a status other than OK. */
  readonly text?: string;
  readonly messages: readonly string[];
}

/** A call that is to be made. Programs of other languages take it as JSON. */
export interface StreamCell {
  /** Of `streams.v1.Streams`. */
  readonly method: string;
  /** Which API of the client makes it. */
  readonly kind: 'unary' | 'server' | 'client' | 'bidi';
  readonly sent: readonly string[];
  /** Before each message. */
  readonly pauseMs: number;
  readonly deadlineMs: number;
}

/** Every cell. */
export const CELLS: readonly StreamCell[] = Object.keys(ENDS).flatMap((method) =>
  [0, PAUSE_MS].map((pauseMs): StreamCell => {
    const kind = /^[A-Z][a-z]+/.exec(method)?.[0].toLowerCase() as StreamCell['kind'];
    const sent = kind === 'unary' || kind === 'server' ? SENT.slice(0, 1) : SENT;
    return { method, kind, sent, pauseMs, deadlineMs: HANGS_MS };
  }),
);

/** What one is called in a message. */
export function nameOf({ method, pauseMs }: StreamCell): string {
  return `${method}, sent ${pauseMs === 0 ? 'at once' : 'slowly'}`;
}

/** How one ended, as {@link expected} has it: an error's id is another one each time. */
export function alike({ text, ...ended }: EndedCell): EndedCell {
  return { ...ended, ...(text !== undefined && { text: text.replace(/\(error [0-9a-f]{32}\)$/, '(error ID)') }) };
}

/** What one has to end in. */
export function expected({ method }: StreamCell): EndedCell {
  const [code, messages] = ENDS[method] ?? assert.fail();
  return { code, ...(code !== OK && { text: TEXTS[code] ?? assert.fail() }), messages };
}

/** How many of its messages the handler takes, as the receipt says it. */
export function takenBy({ method, sent }: StreamCell): number {
  if (/^(Client|Bidi)First/.test(method)) return 1;
  return /^(Client|Bidi)None/.test(method) ? 0 : sent.length;
}

/** The server of the matrix, and a proxy before it. */
export interface StreamServer extends AsyncDisposable {
  readonly server: AttestedRuntime;
  readonly proxy: RunningProxy;
  /** What the proxy checked. */
  readonly receipts: CheckedReceipt[];
}

/** The application whose methods these are. */
export function bundleStreams(): Promise<BuiltBundle> {
  const app = join(import.meta.dirname, '../streams-app');
  return buildBundle({
    policyFile: join(app, 'policy.yaml'),
    protoDir: join(app, 'proto'),
    handlersEntry: join(app, 'handlers/index.ts'),
  });
}

/** Boots both. */
export async function startStreams(): Promise<StreamServer> {
  await using cleanup = new AsyncDisposableStack();
  const server = cleanup.adopt(await bootAttested(await bundleStreams()), (booted) => booted.stop());
  const receipts: CheckedReceipt[] = [];
  const onReceipt = (receipt: CheckedReceipt): unknown => receipts.push(receipt);
  const { target, references } = server;
  const listen = { host: '127.0.0.1', port: 0 };
  const proxy = cleanup.adopt(await startProxy(target, { references, onReceipt, listen }), (started) =>
    started.close(),
  );
  const parts = cleanup.move();
  return { server, proxy, receipts, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/**
 * Makes every cell's call by a program of another language and holds what it saw against the table. It is given an address
 * and, for TLS, a file with the certificate to trust; the cells as one JSON array on its standard input; and it prints how
 * each ended, a line of JSON each, in their order.
 */
export async function holdProgram(command: readonly string[], address: string, trusted?: string): Promise<void> {
  const [program = '', ...words] = command;
  const child = spawn(program, [...words, address, ...(trusted === undefined ? [] : [trusted])], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 5 * HANGS_MS,
  });
  const over = new Promise<number | string | null>((resolve) => {
    child.once('error', ({ message }) => resolve(message)).once('close', (code, signal) => resolve(code ?? signal));
  });
  child.stdin.on('error', () => {}); // what ended early is told by its end
  child.stdin.end(JSON.stringify(CELLS));
  const lines = (await text(child.stdout)).trim().split('\n');
  assert.equal(await over, 0, `how ${program} ended, after ${lines.length} lines`);
  for (const [at, cell] of CELLS.entries())
    assert.deepEqual(alike(JSON.parse(lines[at] || '{"code":"not run"}')), expected(cell), nameOf(cell));
  assert.equal(lines.length, CELLS.length, 'a line of each cell');
}
