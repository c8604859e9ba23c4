/** Canonical JSON: the short way and the general one write the same bytes. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8 } from '@enclaim/attestation/bytes';
import { encodeCanonical } from '@enclaim/attestation/canonical';
import canonicalize from 'canonicalize';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';

/** Names that engines order in their own way, and names that two orders of characters disagree on. */
const name = fc.oneof(
  fc.constantFrom('', '0', '10', '9', '__proto__', 'toJSON', 'constructor', '\ufb33', '\u{1f600}', '\ud800', 'a', 'b'),
  fc.string({ unit: 'binary' }),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false, -0, 1e21, 5e-324, 0.1, Number.MAX_SAFE_INTEGER, undefined, Number.NaN),
    fc.double(),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value')),
    fc.dictionary(name, tie('value')),
    fc
      .uniqueArray(name)
      .chain((names) => fc.tuple(...[...names].sort().map((each) => fc.tuple(fc.constant(each), tie('value')))))
      .map((entries) => Object.fromEntries(entries)),
  ),
}));

function orThrows(write: () => string | undefined): string | undefined {
  try {
    return write();
  } catch {
    return undefined;
  }
}

test('any value is written as the general way writes it, or refused where that refuses', () => {
  let short = 0;
  fc.assert(
    fc.property(value, (given) => {
      const general = orThrows(() => canonicalize(given));
      assert.equal(
        orThrows(() => fromUtf8(encodeCanonical(given))),
        general,
      );
      if (general !== undefined && general === JSON.stringify(given)) short++;
    }),
    { numRuns: count(5000, 5000, 500) },
  );
  assert(short > count(1000, 1000, 50), `${short} values in order`);
});

test('a value that is too deep for recursion is written all the same', () => {
  const depth = 100_000;
  const deep = JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  assert.equal(encodeCanonical(deep).length, 2 * depth);
});
