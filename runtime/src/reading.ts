/** Messages of strangers, read or refused. */

import type { DescMessage } from '@bufbuild/protobuf';
import { RefusalError } from './errors.ts';

/** Reads or labels a message that somebody else made. @throws RefusalError `code`, for fields without a category too */
export function reading<T>(code: 'request' | 'response' | 'peer', { typeName }: DescMessage, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new RefusalError(code, `the ${code === 'peer' ? 'answer' : code} is not a ${typeName}`, { cause });
  }
}
