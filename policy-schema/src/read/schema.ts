/**
 * The grammar as a JSON Schema, from which editors complete and with which other tools can check a
 * shape.
 */

import * as z from 'zod';
import { policyGrammar } from './grammar.ts';

/**
 * Where a policy's first line points an editor: `# yaml-language-server: $schema=…`.
 *
 * @example
 * ```ts
 * import { SCHEMA_FILE } from '@enclaim/policy-schema/schema';
 *
 * console.log(`# yaml-language-server: $schema=${SCHEMA_FILE}`);
 * ```
 */
export const SCHEMA_FILE = 'policy.schema.json';

/**
 * JSON Schema (2020-12) of a policy as people write it, defaults left out. It accepts every policy,
 * and refuses what can be seen in one place. References, contradictions and unbacked claims are
 * beyond a schema.
 *
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises';
 * import { policyJsonSchema } from '@enclaim/policy-schema';
 * import { SCHEMA_FILE } from '@enclaim/policy-schema/schema';
 *
 * await writeFile(SCHEMA_FILE, JSON.stringify(policyJsonSchema()));
 * ```
 */
export function policyJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(policyGrammar, { io: 'input' });
  return { $schema, $id: SCHEMA_FILE, title: 'Enclaim policy', ...schema };
}
