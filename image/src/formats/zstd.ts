/**
 * zstd frames (RFC 8878) packed in parts, on as many cores as there are, with the same bytes on any
 * number of cores.
 */
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { ImageError } from '../errors.ts';

/**
 * Level 19 makes an image 4 MB smaller than level 15 does. **Cost**: firmware and stub hash the
 * image several times at each boot, which costs more than packing it once.
 */
const LEVEL = 19;
const PARTS = 4;

/** Everything beside the input that decides the bytes, as a name for caches. */
export const ZSTD_METHOD: string = `zstd-${process.versions.zstd}-level${LEVEL}-parts${PARTS}`;

/** **Cost**: in zlib's own pieces of 16 KiB, joining an archive takes as long as unpacking it. */
const PIECE_BYTES = 1 << 20;
const MAGIC = 0xfd2fb528;
const HEADER = 10;
const RLE_BLOCK = 1;
const COMPRESSED_BLOCK = 2;

/**
 * A block that stands between two parts. An encoder begins with the repeat offsets 1, 4 and 8
 * (section 3.1.1.5). A decoder that comes from the part before has different ones. This block holds
 * three matches of three bytes at the offsets 8, 4 and 1, which leaves exactly those behind.
 *
 * It yields nine zeros if eight zeros come before it, and so can stand for nine zeros of the input.
 * It has no literals and three sequences. Its literal and match lengths are by one-symbol tables,
 * its offsets by the predefined one.
 */
const RESTART = Uint8Array.of(0x00, 0x03, 0x44, 0x00, 0x00, 0xb8, 0xdd, 0x4a);
const RESTART_BEFORE = 8;
const RESTART_LENGTH = 9;

/**
 * Packs bytes into one frame, for any zstd decoder: the kernel's takes one frame for each archive.
 * Node's own compressor has no threads that work (with `nbWorkers` it returned an empty frame).
 * Therefore the parts here are our own.
 * @param level - Lower than the default for tests.
 * @throws ImageError `output-failed` if the frame does not unpack to the bytes
 */
export async function packZstd(bytes: Uint8Array, level: number = LEVEL): Promise<Uint8Array> {
  const params = { [constants.ZSTD_c_compressionLevel]: level };
  const frames = await Promise.all(partsOf(bytes).map((part) => promisify(zstdCompress)(part, { params })));
  const frame = frames.length === 1 ? (frames[0] ?? bytes) : join(frames.map(readFrame), bytes.length);
  if (!(await unpacksTo(frame, bytes)))
    throw new ImageError('output-failed', 'zstd does not give back what it was given');
  return frame;
}

/** Whether this is one frame, nothing behind it, and unpacks to exactly these bytes. */
export async function unpacksTo(frame: Uint8Array, bytes: Uint8Array): Promise<boolean> {
  try {
    return frameLength(frame) === frame.length && (await unpackZstd(frame, bytes.length + 1)).equals(bytes);
  } catch (error) {
    if (error instanceof ImageError) return false;
    throw error;
  }
}

/**
 * Unpacks frames, one after the other.
 *
 * **Trust**: nothing may stand behind the last frame. Node passes over it in silence, and Linux
 * unpacks it as the next archive.
 * @param limit - Most bytes that they may unpack to.
 * @throws ImageError `archive-invalid`
 */
export async function unpackZstd(bytes: Uint8Array, limit: number): Promise<Buffer> {
  for (let at = 0; at < bytes.length; ) at += frameLength(bytes.subarray(at));
  return promisify(zstdDecompress)(bytes, { maxOutputLength: limit, chunkSize: PIECE_BYTES }).catch((cause) => {
    throw invalid(cause instanceof Error ? cause.message : String(cause), cause);
  });
}

/**
 * Cuts at the first run of zeros after each quarter, leaving out what `RESTART` puts back. A
 * quarter without such a run is not cut.
 */
function partsOf(bytes: Uint8Array): Uint8Array[] {
  const haystack = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const run = Buffer.alloc(RESTART_BEFORE + RESTART_LENGTH);
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let quarter = 1; quarter < PARTS; quarter++) {
    const at = haystack.indexOf(run, Math.max(start, Math.floor((bytes.length * quarter) / PARTS)));
    if (at < 0) break;
    parts.push(bytes.subarray(start, at + RESTART_BEFORE));
    start = at + run.length;
  }
  return [...parts, bytes.subarray(start)];
}

interface Frame {
  /** The window descriptor as it stands in the header. */
  readonly window: number;
  readonly blocks: Uint8Array;
  /** Where the last block's header is in `blocks`. */
  readonly last: number;
}

/**
 * Reads a frame as `zstdCompress` makes it, with the smallest header: no content size, no
 * dictionary, no checksum.
 */
function readFrame(frame: Uint8Array): Frame {
  const view = viewOf(frame);
  const [start, descriptor] = [6, view.getUint8(4)];
  if (view.getUint32(0, true) !== MAGIC || descriptor !== 0) {
    throw new ImageError('output-failed', `zstd frame with descriptor ${descriptor}, expected 0`);
  }
  const { last, end } = findBlocks(view, start);
  return { window: view.getUint8(5), blocks: frame.slice(start, end), last: last - start };
}

/**
 * Length in bytes of the frame that these bytes begin with, with any header (section 3.1.1).
 * @throws ImageError `archive-invalid`
 */
function frameLength(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  try {
    if (view.getUint32(0, true) !== MAGIC) throw invalid('something that is no frame, expected a frame or the end');
    const descriptor = view.getUint8(4);
    const isSingle = (descriptor & 0x20) !== 0;
    const window = isSingle ? 0 : 1;
    const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const content = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    const checksum = (descriptor & 4) === 0 ? 0 : 4;
    const length = findBlocks(view, 5 + window + dictionary + content).end + checksum;
    if (length <= bytes.length) return length;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw invalid('frame is truncated');
}

/**
 * Finds the last block's header, and the end of the blocks (section 3.1.1.2).
 * @throws RangeError if they are cut
 */
function findBlocks(view: DataView, start: number): { last: number; end: number } {
  for (let at = start; ; ) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const next = at + 3 + (((header >> 1) & 3) === RLE_BLOCK ? 1 : header >> 3);
    if ((header & 1) !== 0) return { last: at, end: next };
    at = next;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function invalid(message: string, cause?: unknown): ImageError {
  return new ImageError('archive-invalid', `zstd: ${message}`, { cause });
}

function join(frames: readonly Frame[], length: number): Uint8Array {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(MAGIC);
  header.writeUInt8(0x80, 4); // content size in four bytes, nothing else
  header.writeUInt8(Math.max(...frames.map(({ window }) => window)), 5);
  header.writeUInt32LE(length, 6);
  const restart = Buffer.alloc(3);
  restart.writeUIntLE((COMPRESSED_BLOCK << 1) | (RESTART.length << 3), 0, 3);
  const parts = frames.flatMap(({ blocks, last }, index) => {
    if (index === frames.length - 1) return [blocks];
    blocks[last] = (blocks[last] ?? 0) & ~1; // no longer the last
    return [blocks, restart, RESTART];
  });
  return Buffer.concat([header, ...parts]);
}
