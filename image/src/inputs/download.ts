/** Bytes of a URL, bounded in size and time. What they are, only their reader finds out. */

/** When a server is given up. */
export interface Patience {
  /** Without a byte for so long, in milliseconds, an attempt is over. */
  readonly silence: number;
  /** An attempt lasts at most as long as its size takes at this pace, and `silence` on top. */
  readonly bytesPerSecond: number;
}

const PATIENCE: Patience = { silence: 60_000, bytesPerSecond: 1 << 15 };
const ATTEMPTS = 3;

/** A place that answers, and does not have what is asked for: another attempt would end alike. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** A server that was too slow: another attempt would take as long. */
class Late extends Error {
  override readonly name = 'Late';
}

/**
 * The body of a URL, in three attempts.
 *
 * **Bound**: it stops reading soon after `size` bytes. An endless answer ends in a mismatch and not
 * in exhausted memory, and a slow one ends when its time is over.
 * **Trust**: the bytes are unchecked.
 */
export async function download(
  url: string,
  size: number,
  signal: AbortSignal | undefined,
  patience: Patience = PATIENCE,
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptOf(url, size, signal, patience);
    } catch (error) {
      if (error instanceof Refused || error instanceof Late || attempt === ATTEMPTS || signal?.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    }
  }
}

async function attemptOf(
  url: string,
  size: number,
  signal: AbortSignal | undefined,
  { silence, bytesPerSecond }: Patience,
): Promise<Uint8Array> {
  const over = new AbortController();
  const idle = setTimeout(() => over.abort(new Error(`nothing received for ${silence / 1000} s`)), silence);
  const whole = silence + (size / bytesPerSecond) * 1000;
  const late = new Late(`not received whole in ${Math.ceil(whole / 1000)} s`);
  const end = setTimeout(() => over.abort(late), whole);
  try {
    const response = await fetch(url, { signal: signal ? AbortSignal.any([signal, over.signal]) : over.signal });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new (response.status < 500 ? Refused : Error)(`HTTP ${response.status}`);
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body) {
      idle.refresh();
      chunks.push(chunk);
      length += chunk.length;
      if (length > size) break;
    }
    return Buffer.concat(chunks);
  } finally {
    clearTimeout(idle);
    clearTimeout(end);
  }
}
