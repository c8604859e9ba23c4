/** Attacks by logs on a witness, by witnesses on a log's courier, and by couriers on a machine. */

import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sha256 } from '@enclaim/attestation/digest';
import { merkleRoot } from '@enclaim/attestation/merkle';
import { formatCheckpoint, formatNoteKey, parseNote } from '@enclaim/attestation/tlog';
import type * as server from '../../cli/src/witness/server.ts';
import { cosign } from '../../cli/src/witness/signer.ts';
import type { WitnessStore } from '../../cli/src/witness/store.ts';
import * as witness from '../../cli/src/witness/witness.ts';
import * as courier from '../../client/src/witness/ask.ts';
import { cosigningRules } from '../../runtime/src/admission/cosigning-rules.ts';
import * as cosignatures from '../../runtime/src/log/cosignatures.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { killWitness } from '../support/killed-witness.ts';
import { count } from '../support/long.ts';
import { TestLog, witnessKeys } from '../support/witnessed-log.ts';
import { type Attack, lasts, settling } from './attack.ts';
import { passes } from './source-attack.ts';
import { type Weakness, weakened } from './weakened.ts';

const log = new TestLog();
const keys = witnessKeys();
const NOW = Math.floor(Date.now() / 1000);

function onSource<M>(
  path: `${string}.ts`,
  whole: M,
  name: string,
  layer: string,
  succeeds: (module: M) => Promise<boolean>,
): Attack {
  const control = async (): Promise<boolean> => succeeds(await import(weakened(path, { off: [layer] })));
  return { group: 'witness', name, layer, attempt: () => succeeds(whole), control };
}

/** A store in memory, whose writes take their time. */
function slowStore(): WitnessStore {
  let last: { checkpoint: unknown } | undefined;
  return {
    last: () => last,
    keep: async (kept: { checkpoint: unknown }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      last = kept;
    },
    keepFork: async () => undefined,
  } as unknown as WitnessStore;
}

const partsOf = (store: WitnessStore): witness.WitnessParts => ({
  keys,
  logs: new Map([[log.origin, [log.key]]]),
  store,
  now: () => NOW,
  say: () => {},
});

/** Whether a liar's answer is taken for a cosignature. */
async function taken({ askWitness }: typeof courier, listener: RequestListener): Promise<boolean> {
  const server = createServer(
    (request, response) => void request.resume().once('end', () => listener(request, response)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const checkpoint = { note: log.note(5), consistency: async (old: number) => log.proof(old, 5) };
  try {
    // The witness's clock, which stood still since this file was read: a busy machine is minutes away.
    const now = (): number => NOW * 1000;
    const asked = { url, keys: keys.map(({ key }) => key) };
    return await passes(() => askWitness(asked, checkpoint, { timeout: HANGS_MS, now }));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const PLACES = 8;
/** A witness of few places, whose times are short where a layer has one. */
const SMALL: Weakness = { constants: { MAX_WITNESS_CONNECTIONS: PLACES, REQUEST_MS: 800, HEADERS_MS: 400 } };

/** Connections to a witness, each of which says `begins`, and `more` now and then. */
class SlowPeers implements Disposable {
  readonly #sockets: readonly Socket[];
  readonly #timer: NodeJS.Timeout;

  constructor(address: string, number: number, begins: string, more: string) {
    const { hostname: host, port } = new URL(address);
    this.#sockets = Array.from({ length: number }, () => connect({ host, port: Number(port) }));
    for (const socket of this.#sockets)
      socket
        .on('error', () => {})
        .resume()
        .write(begins);
    this.#timer = setInterval(() => {
      for (const socket of this.#sockets) if (socket.writable) socket.write(more);
    }, 50);
  }

  async connected(): Promise<void> {
    await Promise.all(this.#sockets.map((socket) => once(socket, 'connect')));
  }

  get closed(): number {
    return this.#sockets.filter(({ closed }) => closed).length;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** An attack on a witness over its network: in both runs it is small. */
function onServer(
  name: string,
  [layer, ...before]: readonly [string, ...string[]],
  succeeds: (address: string) => Promise<boolean>,
  scaled: Weakness = SMALL,
): Attack {
  const attempt = async (off: readonly string[]): Promise<boolean> => {
    const { serveWitness }: typeof server = await import(weakened('cli/src/witness/server.ts', { ...scaled, off }));
    const store = slowStore();
    const asked = new witness.Witness(partsOf(store));
    const served = await serveWitness(asked, store, [log.origin], { host: '127.0.0.1', port: 0 });
    try {
      return await succeeds(served.address);
    } finally {
      await served.close();
    }
  };
  return { group: 'witness', name, layer, attempt: () => attempt([]), control: () => attempt([layer, ...before]) };
}

/** Whether an honest log, which asks until it is answered, waits as long as all places are held. */
async function keepsOut(address: string, begins: string, more: string): Promise<boolean> {
  using slow = new SlowPeers(address, PLACES, begins, more);
  await slow.connected();
  const given = new AbortController();
  const honest = async (): Promise<void> => {
    const asks = (): Promise<boolean> =>
      fetch(`${address}/add-checkpoint`, { method: 'POST', body: log.request(0, 5) }).then(
        () => true,
        () => false,
      );
    while (!given.signal.aborted && !(await asks())) await sleep(50);
  };
  const answered = honest();
  try {
    return await lasts(settling(answered), 3000);
  } finally {
    given.abort();
    slow[Symbol.dispose]();
    await answered;
  }
}

const HEAD = 'POST /add-checkpoint HTTP/1.1\r\nhost: witness\r\n';
const text = parseNote(log.note(5)).text;
const WITNESS = 'cli/src/witness/witness.ts';
const COURIER = 'client/src/witness/ask.ts';

/** A machine's log of 15 entries, and what it was told. */
async function handedIn(
  { Cosignatures }: typeof cosignatures,
  by: readonly (typeof keys)[number][],
  branch: string,
): Promise<{ told: string; cosigned: number }> {
  const machine = {
    began: { size: 1 },
    durable: { size: 15 },
    onDurable: () => {},
    rootAt: async (size: number): Promise<Sha256> => merkleRoot(log.leaves(size)),
    forget: () => {},
  };
  const rules = cosigningRules({
    ...{ durability: 'before-response', retention: 'unlimited', review: 'none', pipeline: [] },
    witnesses: keys.map(({ key }) => formatNoteKey(key)),
  });
  const taking = new Cosignatures(machine, log.origin, rules, {
    noted: async () => 15,
    unwitnessed: () => {},
    forked: () => {},
  });
  const body = formatCheckpoint({
    origin: log.origin,
    size: 9,
    root: merkleRoot(log.leaves(9, branch)),
    extensions: [],
  });
  const note = log.signed(body) + cosign(by, body, BigInt(NOW)).join('');
  const told = await taking.add(note).then(
    () => '',
    ({ message }: Error) => message,
  );
  return { told, cosigned: taking.sizes.cosigned };
}
const RUNTIME = 'runtime/src/log/cosignatures.ts';
const STORED = 'stored before it is answered';

/** Every attack by and on witnesses. */
export const witnessAttacks: readonly Attack[] = [
  {
    group: 'witness',
    name: 'kill a witness while it answers, for two trees of one size',
    layer: STORED,
    attempt: async () => (await killWitness(count(10, 100, 6))).forks > 0,
    control: async () => {
      weakened(WITNESS, { off: [STORED] }); // counted here: the witness is in a process of its own
      return (await killWitness(8, [STORED])).forks > 0;
    },
  },
  onSource(
    WITNESS,
    witness,
    'have two trees cosigned at once',
    'one request for a log at a time',
    async ({ Witness }) => {
      const asked = new Witness(partsOf(slowStore()));
      const answers = await Promise.all(['', 'fork '].map((branch) => asked.add(log.request(0, 5, branch))));
      return answers.every(({ status }) => status === 200);
    },
  ),
  onSource(WITNESS, witness, 'have a fork cosigned', 'one history', async ({ Witness }) => {
    const asked = new Witness(partsOf(slowStore()));
    await asked.add(log.request(0, 5));
    return (await asked.add(log.request(5, 9, 'fork '))).status === 200;
  }),
  ...(
    [
      ['say nothing', '', ''],
      ['send a header now and then', HEAD, 'a: b\r\n'],
    ] as const
  ).map(([name, begins, more]) =>
    onServer(
      `hold all places of a witness: ${name}`,
      ['the head of a request in its time', 'a whole request in its time'],
      (address) => keepsOut(address, begins, more),
    ),
  ),
  onServer(
    'hold all places of a witness: send a byte of a body now and then',
    ['a whole request in its time'],
    (address) => keepsOut(address, `${HEAD}content-length: 100000\r\n\r\n`, 'o'),
  ),
  onServer(
    'hold three times as many connections as a witness has places',
    ['connections of a witness'],
    async (address) => {
      using many = new SlowPeers(address, 3 * PLACES, HEAD, 'a: b\r\n');
      return await lasts(() => many.closed >= 2 * PLACES, 1000);
    },
    { constants: { MAX_WITNESS_CONNECTIONS: PLACES, REQUEST_MS: 3_600_000, HEADERS_MS: 3_600_000 } },
  ),
  ...([0n, BigInt(NOW - 31_536_000), BigInt(NOW + 31_536_000)] as const).map((time) =>
    onSource(COURIER, courier, `cosign today for the second ${time}`, 'cosignatures of now', (module) =>
      taken(module, (_request, response) => response.end(cosign(keys, text, time).join(''))),
    ),
  ),
  onSource(COURIER, courier, 'answer with a text of its own', 'nothing but signature lines', (module) => {
    const other = cosign(keys.slice(0, 1), `${text}\nmore\n`, BigInt(NOW));
    return taken(module, (_request, response) => response.end(`more\n\n${other.join('')}`));
  }),
  onSource(COURIER, courier, 'answer with 10 MB', 'bound of an answer', async (module) => {
    let sent = 0;
    await taken(module, (_request, response) => {
      const more = (): void => {
        if (sent >= 1e7) return void response.end();
        sent += 65_536;
        if (response.write(Buffer.alloc(65_536, 97))) more();
        else response.once('drain', more);
      };
      more();
    });
    return sent >= 1e7;
  }),
  onSource(COURIER, courier, 'lead the courier elsewhere', 'no redirection', async (module) => {
    let led = false;
    await taken(module, ({ url }, response) => {
      if (url === '/elsewhere') led = true;
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    return led;
  }),
  onSource(RUNTIME, cosignatures, 'have a log called a fork by one of two', 'quorum of the policy', async (module) => {
    return (await handedIn(module, keys.slice(0, 1), 'fork ')).told.includes('is not this log');
  }),
  onSource(RUNTIME, cosignatures, 'hand in a quorum over another tree', "the log's own tree", async (module) => {
    return (await handedIn(module, keys, 'fork ')).cosigned > 1;
  }),
];
