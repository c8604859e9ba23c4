/** A log that forks, and a witness that is killed while it answers. */

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatNoteKey, parseCheckpoint, parseNote } from '../../attestation/src/tlog/index.ts';
import { Program } from './program.ts';
import { TestLog } from './witnessed-log.ts';

const BRANCHES = ['', 'fork '];

/** What many lives of one witness cosigned. */
export interface Lives {
  readonly cosigned: number;
  /** Sizes of which two roots are cosigned. */
  readonly forks: number;
  /** Answers that were cut off. */
  readonly cut: number;
}

/**
 * Starts a witness, has it asked for two trees of each size at once, kills it at some moment, and so
 * on; every answer is kept.
 */
export async function killWitness(kills: number, off: readonly string[] = []): Promise<Lives> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-killed-witness-'));
  const log = new TestLog();
  await writeFile(join(folder, 'log'), formatNoteKey(log.key));
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFile(join(folder, 'key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const roots = new Map<number, Set<string>>();
  const lives = { cosigned: 0, cut: 0 };
  let answers = 0;
  const ask = async (address: string, size: number, branch: string): Promise<void> => {
    for (let old = 0, turn = 0; turn < 3; turn++) {
      const body = log.request(Math.min(old, size), size, branch);
      const response = await fetch(`${address}/add-checkpoint`, { method: 'POST', body });
      const text = await response.text();
      if (response.status !== 409) answers++;
      if (response.status === 200) {
        lives.cosigned++;
        const { root } = parseCheckpoint(parseNote(log.note(size, branch)).text);
        roots.set(size, (roots.get(size) ?? new Set()).add(Buffer.from(root).toString('hex')));
      }
      if (response.status !== 409) return;
      old = Number(text);
    }
  };
  for (let life = 0; life < kills; life++) {
    const source = join(import.meta.dirname, 'witness-process.ts');
    await using witness = new Program([process.execPath, '--no-warnings', source, folder, ...off]);
    const [address] = await witness.line(/^http:.*$/);
    const sizes = [life + 1, life + 1, life + 2, life + 2];
    const asked = sizes.map((size, i) =>
      ask(address, size, BRANCHES[(i + life) % 2] ?? '').catch(() => void lives.cut++),
    );
    // Some die before their first answer, some after the first, the second or the third.
    const before = answers;
    const all = Promise.all(asked).then(() => true);
    while (answers < before + (life % 4) && !(await Promise.race([all, sleep(1)])));
    await sleep((life * 7) % 5);
    await Promise.all([witness.stop('SIGKILL'), ...asked]);
  }
  await rm(folder, { recursive: true });
  return { ...lives, forks: [...roots.values()].filter(({ size }) => size > 1).length };
}
