/** Workers of classes: as many as the machine has room for, and what each class has of them. */

import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { frameOf } from '../../../test/support/worker-text.ts';
import { WorkerClasses, workerShares } from '../../src/worker/classes.ts';
import type { WorkerProcess } from '../../src/worker/worker.ts';

/** Classes of one method each. */
const classesOf = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ methods: [`a.B/M${at}`] as const, learns: [] }));

/** A worker process that is ready at once. */
function ready(): WorkerProcess {
  const socket: Duplex = new Duplex({
    read: () => {},
    write: (_chunk, _encoding, done) => {
      socket.push(frameOf({ kind: 'ready' }));
      done();
    },
  });
  return { socket, kill: () => {}, processorTime: () => 0 };
}

for (const [classes, size, workers] of [
  [5, 8, 8],
  [3, 8, 8],
  [8, 8, 8],
  [1, 4, 4],
  [5, 2, 5],
] as const)
  test(`${classes} classes on a machine with room for ${size} have ${workers} workers, and capacity for these`, async () => {
    let started = 0;
    const factory = async (): Promise<WorkerProcess> => {
      started++;
      return ready();
    };
    const pools = await WorkerClasses.start({ factory, size }, { code: '', metered: false }, classesOf(classes));
    pools.close();
    const shares = workerShares(classesOf(classes), { size, capacity: { memory: 1000 * size, processors: size } });
    const whole = shares.reduce(
      ({ memory, processors }, { capacity }) => ({
        memory: memory + capacity.memory,
        processors: processors + capacity.processors,
      }),
      { memory: 0, processors: 0 },
    );
    assert.deepEqual([started, whole], [workers, { memory: 1000 * workers, processors: workers }]);
    for (const { capacity } of shares) assert.ok(capacity.processors >= 1);
  });
