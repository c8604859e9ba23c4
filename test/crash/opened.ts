/** What is stored on a disk, opened without the runtime around it, on a TPM that is shown the events of a launch. */

import { TpmKeeper } from '../../guest/src/tpm/index.ts';
import { extendPcr } from '../../guest/src/tpm/registers.ts';
import { Tpm } from '../../guest/src/tpm/tpm.ts';
import { anchorTime, BootClock } from '../../runtime/src/clock.ts';
import { openDevice } from '../../runtime/src/log/device.ts';
import { RecordLog } from '../../runtime/src/log/record-log.ts';
import { SealedStore } from '../../runtime/src/storage/sealed/sealed-store.ts';
import type { Swtpm } from '../fakes/swtpm.ts';
import type { Kept } from './model.ts';

/** The name of the app's system (app/policy.yaml). */
const SYSTEM = 'kept-pairs';
const DAY_MS = 86_400_000;
/** Its collections that outlast a test, with their retentions. */
const COLLECTIONS = { left: 30 * DAY_MS, right: 30 * DAY_MS, lasting: 3650 * DAY_MS };

/** Events of registers that keys are sealed to. */
export type Events = ReadonlyMap<number, readonly Uint8Array[]>;

/**
 * Opens a disk, which begins an epoch on it, and reads all that is there.
 *
 * @param swtpm after a reset
 * @throws RefusalError, TpmError where it does not open
 */
export async function storedOn(disk: string, bytes: number, swtpm: Swtpm, events: Events): Promise<readonly Kept[]> {
  const tpm = new Tpm(await swtpm.connect());
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => tpm.close());
  for (const [register, digests] of events)
    for (const digest of digests) await extendPcr(tpm, register, [{ bank: 'sha256', digest }]);
  const device = cleanup.adopt(await openDevice(disk), (file) => file.close());
  const log = await RecordLog.open(device, bytes);
  const clock = new BootClock(anchorTime());
  const collections = new Map(Object.entries(COLLECTIONS).map(([name, retention]) => [name, { retention }]));
  const keeper = await TpmKeeper.open(tpm);
  const store = cleanup.adopt(await SealedStore.open({ keeper, log, system: SYSTEM, clock, collections }), (it) =>
    it.close(),
  );
  const texts = new Map<string, Record<string, string>>();
  for (const name of Object.keys(COLLECTIONS)) {
    const collection = store.collections.get(name);
    const range = { prefix: '', after: '', limit: Number.POSITIVE_INFINITY };
    for (const key of collection?.list(range).keys ?? []) {
      const value = await collection?.get(key)?.value;
      const kept = texts.get(key) ?? { left: '', right: '', lasting: '' };
      texts.set(key, kept);
      if (value !== undefined) kept[name] = (JSON.parse(value) as { text: string }).text;
    }
  }
  return [...texts].map(([key, kept]) => ({ key, ...kept }) as unknown as Kept);
}
