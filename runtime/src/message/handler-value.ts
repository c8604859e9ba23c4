/** Values that a handler gives, apart from messages of declared types. */

import { RefusalError } from '../errors.ts';
import { type Json, parseWorkerText, type WorkerText } from '../worker/json-text.ts';

/**
 * A value that a handler stores or logs.
 *
 * @throws RefusalError `worker` if it is not JSON, or has too many parts
 */
export function handlerValue(text: WorkerText): Json {
  try {
    return parseWorkerText(text);
  } catch (cause) {
    throw new RefusalError('worker', 'the handler gave no value in JSON, or one of too many parts', { cause });
  }
}
