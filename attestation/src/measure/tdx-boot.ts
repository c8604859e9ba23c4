/**
 * RTMR2 and RTMR3 of a TDX guest that was booted directly: command line and initrd, then policy and
 * bundle.
 */

import { concat } from '../bytes.ts';
import { type DigestText, parseDigest, sha384 } from '../digest.ts';
import { type Label, labelBytes } from '../labels.ts';
import { commandLineEvent, type RtmrEvent, rtmr2Events } from './tdx-events.ts';

/**
 * Records of policy and bundle, in order. The guest extends the SHA-384 of each into RTMR3 before
 * it uses anything of either.
 * @throws DecodeError
 */
export function rtmr3Records(policy: DigestText<'sha384'>, bundle: DigestText<'sha384'>): readonly Uint8Array[] {
  return [record('policy', policy), record('bundle', bundle)];
}

/** The events of RTMR3 after both. @throws DecodeError */
export function policyEvents(policy: DigestText<'sha384'>, bundle: DigestText<'sha384'>): readonly RtmrEvent[] {
  const [first = new Uint8Array(), second = new Uint8Array()] = rtmr3Records(policy, bundle);
  return [
    { name: 'policy', digest: sha384(first) },
    { name: 'app bundle', digest: sha384(second) },
  ];
}

/** The events of RTMR2 in a launch. @param initrd SHA-384 of the initrd. @throws DecodeError */
export function launchRtmrEvents(commandLine: string, initrd: DigestText<'sha384'>): readonly RtmrEvent[] {
  return rtmr2Events({ commandLine: sha384(commandLineEvent(commandLine)), initrd: parseDigest('sha384', initrd) });
}

function record(label: Label, digest: DigestText<'sha384'>): Uint8Array {
  return concat(labelBytes(label), parseDigest('sha384', digest));
}
