/** An attested server whose log is in memory: the Log service as it is, or one that lies. */

import type { KeyObject } from 'node:crypto';
import { sign } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { utf8 } from '@enclaim/attestation/bytes';
import { LABELS } from '@enclaim/attestation/labels';
import { type LogProof, LogProofSchema, READER_METADATA, readerMessage } from '@enclaim/attestation/log-service';
import { inclusionPath, leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { treeMessage } from '@enclaim/attestation/scitt';
import { type Ed25519Text, ed25519Key } from '@enclaim/attestation/statement';
import { formatCheckpoint, formatNote, noteKey, signatureLine, type Tile, tileBytes } from '@enclaim/attestation/tlog';
import { CallConnection } from '../../runtime/src/channel/connection.ts';
import {
  LogService,
  type LogSource,
  type ServedCheckpoints,
  type ServedLog,
} from '../../runtime/src/channel/log-service.ts';
import type { ServedMethods } from '../../runtime/src/channel/served-methods.ts';
import { StreamLimit } from '../../runtime/src/channel/stream-limit.ts';
import type { PretendBoot, PretendOptions } from './pretend-server.ts';
import { type PretendServer, startPretendServer } from './pretend-server.ts';

/** A log in memory. */
export class MemoryLog implements ServedLog, ServedCheckpoints {
  minimum = 0;
  readonly began = { size: 0 };
  /** Reads of tiles and of entries so far. */
  reads = 0;
  readonly data: Uint8Array[] = [];
  newest: { size: number; note: string; coseSignature: () => Uint8Array } | undefined;
  readonly #boot: PretendBoot;

  constructor(boot: PretendBoot) {
    this.#boot = boot;
  }

  /** Entries that are placed, and not durable yet. */
  undurable = 0;

  get durable(): { readonly size: number } {
    return { size: this.data.length - this.undurable };
  }

  get origin(): string {
    return this.#boot.statement.log.origin;
  }

  /** Adds entries; they are signed for by `sign`. */
  grow(count: number): void {
    for (let i = 0; i < count; i++) this.data.push(utf8(`entry ${this.data.length}`));
  }

  /** Signs for the first `size` entries. */
  sign(size: number = this.data.length): void {
    const { origin } = this;
    const root = this.root(size);
    this.newest = {
      size,
      note: this.note(formatCheckpoint({ origin, size, root, extensions: [] })),
      coseSignature: () => {
        const { keys } = this.#boot;
        return keys.signCheckpoint(treeMessage({ origin, subject: LABELS.record, size }, root, keys.log));
      },
    };
  }

  /** A text under the log key of the boot. */
  note(text: string): string {
    const { statement, keys } = this.#boot;
    const raw = Buffer.from(keys.log.slice('ed25519:'.length), 'base64url');
    const key = noteKey(statement.log.origin, 'ed25519', raw);
    return formatNote(text, [signatureLine(key, keys.signCheckpoint(utf8(text)))]);
  }

  root(size: number): Uint8Array {
    return merkleRoot(this.data.slice(0, size).map(leafHash));
  }

  async tile(tile: Tile): Promise<Uint8Array> {
    this.reads++;
    // The edge is held, whatever is forgotten.
    if (tile.width === 256 && (tile.index + 1) * 256 ** (Number(tile.level) + 1) <= this.minimum)
      throw new RangeError('no longer held');
    return tileBytes(this.data.map(leafHash), tile);
  }

  async entries(first: number, count: number): Promise<Uint8Array[]> {
    this.reads++;
    return this.data.slice(first, first + count);
  }

  async proofOf(index: number): Promise<LogProof> {
    const { size, note } = this.newest ?? { size: 0, note: '' };
    const path = inclusionPath(this.data.slice(0, size).map(leafHash), index);
    return create(LogProofSchema, { index: BigInt(index), path, checkpoint: note });
  }
}

/** A server with a log. */
export interface LogServer extends PretendServer {
  /** The log of the boot that was connected to first. */
  readonly log: MemoryLog;
  /** Its log key. */
  readonly logKey: Ed25519Text;
}

/** What may be other than in an honest server. */
export interface LogServerOptions {
  readonly pretend?: PretendOptions;
  readonly readers?: readonly Ed25519Text[];
  /** Entries at the start; signed for. Default: none, and no checkpoint. */
  readonly entries?: number;
  /** Stands in for log or checkpoints, or for the methods themselves. */
  readonly source?: (honest: LogSource) => LogSource | undefined;
  readonly methods?: (honest: ServedMethods, log: MemoryLog) => ServedMethods;
  readonly Service?: typeof LogService;
}

/** Starts it. */
export async function startLogServer(options: LogServerOptions = {}): Promise<LogServer> {
  const streams = new StreamLimit(60_000);
  const connections: CallConnection[] = [];
  const boots = new Map<PretendBoot, { readonly log: MemoryLog; readonly methods: ServedMethods }>();
  const { source = (honest: LogSource): LogSource | undefined => honest, methods = (honest: ServedMethods) => honest } =
    options;
  const { Service = LogService } = options;
  const served = (boot: PretendBoot) => {
    const known = boots.get(boot);
    if (known !== undefined) return known;
    const log = new MemoryLog(boot);
    log.grow(options.entries ?? 0);
    if (options.entries !== undefined) log.sign();
    const service = new Service(source({ log, checkpoints: log, readers: options.readers ?? [], boot: boot.digest }));
    const one = { log, methods: methods(new Map(service.methods), log) };
    boots.set(boot, one);
    return one;
  };
  const server = await startPretendServer({
    ...options.pretend,
    plain: true,
    carry: (socket, boot) => {
      const { methods: own } = served(boot);
      connections.push(new CallConnection(socket, socket.alpnProtocol !== 'h2', { methods: own, streams }));
    },
    onBoot: (boot) => void served(boot),
  });
  const { stop: honestStop, rotate: honestRotate } = server;
  const rotate = (): void => {
    honestRotate();
    for (const connection of connections.splice(0)) connection.retire();
  };
  const stop = (): void => {
    streams[Symbol.dispose]();
    honestStop();
  };
  return Object.defineProperties(server, {
    log: { get: () => [...boots.values()].at(-1)?.log },
    logKey: { get: () => [...boots.keys()].at(-1)?.keys.log },
    stop: { value: stop },
    rotate: { value: rotate },
  }) as LogServer;
}

/** The metadata with which a reader proves its key. */
export function readerProof(
  key: KeyObject,
  publicKey: KeyObject,
  { exporter, bootDigest }: { readonly exporter?: Uint8Array; readonly bootDigest: Uint8Array },
): Record<string, Buffer> {
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const message = readerMessage(exporter ?? new Uint8Array(), bootDigest);
  return { [READER_METADATA]: Buffer.concat([raw, sign(null, message, key)]) };
}

/** A reader's key as policies name it. */
export function readerName(publicKey: KeyObject): Ed25519Text {
  return ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
}
