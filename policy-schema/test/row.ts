/** Rows of the policy table as documents. */

import assert from 'node:assert/strict';
import { BASE } from './base-policy.ts';
import type { Edit, Row } from './policy-table.ts';

/** The document of a row. An edit that finds nothing to change is a mistake in the table. */
export function documentOf(edit: Row[1]): string | Uint8Array {
  if ('document' in edit) return edit.document;
  const edits = (typeof edit[0] === 'string' ? [edit] : edit) as readonly Edit[];
  return edits.reduce((text, each) => {
    assert.ok(!('document' in each));
    assert.ok(text.includes(each[0]), `the base policy has ${each[0]}`);
    return text.replace(each[0], () => each[1]);
  }, BASE);
}
