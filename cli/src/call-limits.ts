/** Bounds of a server on calls, for the help of the commands that make calls or pass them on. */

import { MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_METADATA_ENTRIES } from '@enclaim/attestation/grpc-request';
import { LIMITS } from '@enclaim/runtime/limits';

const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`;

/** Text behind the options in the help; docs/reference/limits.md has the other limits. */
export const CALL_LIMITS: string = `
Limits of a server, whatever its client asks for:
  a call      ${seconds(LIMITS.call)}, or what the policy's \`wall\` says, and never more than ${seconds(LIMITS.callOfPolicy)}
  a stream    ${seconds(LIMITS.stream)}, or ${seconds(LIMITS.call + LIMITS.taking)} more than the longest \`wall\`
  a message   ${MAX_MESSAGE_BYTES / 1024 / 1024} MiB either way
  metadata    ${MAX_METADATA_ENTRIES} entries and ${MAX_METADATA_BYTES / 1024} KiB, names and 32 bytes an entry counted
`;
