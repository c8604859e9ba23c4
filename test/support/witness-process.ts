/** A witness in a process of its own, which a test may kill: FOLDER, then the marks that are off. Prints its address. */

import { createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseNoteKey } from '../../attestation/src/tlog/index.ts';
import { serveWitness } from '../../cli/src/witness/server.ts';
import { cosigningKey } from '../../cli/src/witness/signer.ts';
import { WitnessStore } from '../../cli/src/witness/store.ts';
import * as whole from '../../cli/src/witness/witness.ts';

const [folder = '', ...off] = process.argv.slice(2);
const { Witness } =
  off.length === 0
    ? whole
    : ((await import(
        (await import('../hostile/weakened.ts')).weakened('cli/src/witness/witness.ts', { off })
      )) as typeof whole);
const keys = [cosigningKey('example.com/w', createPrivateKey(await readFile(join(folder, 'key.pem'))))];
const log = parseNoteKey(await readFile(join(folder, 'log'), 'utf8'));
const logs = new Map([[log.name, [log]]]);
const store = await WitnessStore.open(join(folder, 'state'), logs.keys(), keys);
const now = (): number => Math.floor(Date.now() / 1000);
const witness = new Witness({ keys, logs, store, now, say: () => {} });
const { address } = await serveWitness(witness, store, logs.keys(), { host: '127.0.0.1', port: 0 });
console.log(address);
