/**
 * Program of a test: appends records to the log on a file for ever, and says of each one after it
 * was acknowledged: index and hash, a line each. It is killed.
 */

import { writeSync } from 'node:fs';
import { openDevice } from '../../src/log/device.ts';
import { RecordLog } from '../../src/log/record-log.ts';
import { entry } from './support.ts';

const [, , path = '', capacity = '0', writers = '1'] = process.argv;
const log = await RecordLog.open(await openDevice(path), Number(capacity));
writeSync(1, `began ${log.began.size} ${log.began.root.toHex()}\n`);

async function write(writer: number): Promise<never> {
  for (let number = 0; ; number++) {
    const { index, hash, durable } = log.place(entry(`${process.pid} ${writer} ${number}`));
    await durable;
    writeSync(1, `${index} ${hash}\n`);
  }
}
await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(writer)));
