/** Rules of declassification as a boot admits them. */

import type { DescMethod } from '@bufbuild/protobuf';
import {
  type Declassification,
  type Descriptors,
  type ExposedMethod,
  findMethod,
  type HttpCall,
  type Policy,
  parseHttpCall,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';

/** A rule of declassification, ready for use. */
export interface Release {
  readonly rule: Declassification;
  /** The target of the release: an HTTP call, or a method whose request is the message. */
  readonly call: HttpCall | DescMethod;
  /** Collections from which it takes a record that the handler names. */
  readonly collections: readonly string[];
}

/**
 * The rules of exposed methods, by id.
 *
 * @throws RefusalError `descriptors` if a rule calls a method that the descriptors lack; matching
 * refuses such a policy earlier
 */
export function planReleases(
  { declassify }: Policy,
  descriptors: Descriptors,
  exposed: readonly ExposedMethod[],
): ReadonlyMap<string, Release> {
  const planned = declassify.filter(({ method }) => exposed.some(({ id }) => id === method));
  return new Map(
    planned.map((rule) => {
      const call = parseHttpCall(rule.call) ?? findMethod(descriptors, rule.call);
      if (call === undefined)
        throw new RefusalError('descriptors', `release ${rule.id} calls ${rule.call}, which is not there`);
      const collections = Object.values(rule.build).flatMap((source) => {
        const [root, collection] = source.split('.');
        return root === '$record' && collection !== undefined ? [collection] : [];
      });
      return [rule.id, { rule, call, collections: [...new Set(collections)] }];
    }),
  );
}
