/** JSON documents of this room, read strictly: what the schema does not name is an error. */
import type * as z from 'zod';
import { ImageError } from './errors.ts';

/**
 * Parses a document.
 * @param name - What the document is, for the message.
 * @throws ImageError `code`, naming the first fields at fault
 */
export function parseDocument<T>(
  schema: z.ZodType<T>,
  text: string,
  code: 'lock-invalid' | 'manifest-invalid' | 'source-invalid',
  name: string,
): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ImageError(code, `${name} is not JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new ImageError(code, `${name}: ${issues.join('; ')}`);
}
