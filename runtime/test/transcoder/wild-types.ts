/** Message types for the transcoder's tests: every kind of field, and those of the project's apps. */

import type { DescMessage } from '@bufbuild/protobuf';
import type { Descriptors } from '@enclaim/policy-schema/admission';

const TYPES = [
  ...['All', 'Scalars', 'Maybe', 'Lists', 'Maps', 'Choices', 'Tree', 'Known', 'Open', 'Older', 'Edition'].map(
    (name) => `wild.${name}`,
  ),
  ...[
    'clinic.v1.SubmitRequest',
    'clinic.v1.Observation',
    'clinic.v1.Patient',
    'hr.v1.Slip',
    'lab.v1.Note',
    'lab.v1.Ack',
  ],
];

/** The types that messages are made of. */
export function wildTypes({ registry }: Descriptors): DescMessage[] {
  return TYPES.map((name) => {
    const type = registry.getMessage(name);
    if (type === undefined) throw new Error(`no type ${name}`);
    return type;
  });
}
