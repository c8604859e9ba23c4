/** RTMR2 and RTMR3 of a TDX guest that was booted directly: command line and initrd, then policy and bundle. */

import { concat, utf8 } from '../bytes.ts';
import { type DigestText, parseDigest, type Sha384, sha384 } from '../digest.ts';
import { commandLineEvent, rtmr2Events, rtmrOf } from './tdx-events.ts';

/** What the guest extends into RTMR3, in order, before it uses anything of either. @throws DecodeError */
export function rtmr3Extensions(policy: DigestText<'sha384'>, bundle: DigestText<'sha384'>): readonly Sha384[] {
  return [extension('enclaim/policy/v1', policy), extension('enclaim/bundle/v1', bundle)];
}

/** RTMR3 after both. @throws DecodeError */
export function policyRtmr(policy: DigestText<'sha384'>, bundle: DigestText<'sha384'>): Sha384 {
  return rtmrOf(rtmr3Extensions(policy, bundle).map((digest) => ({ name: 'enclaim', digest })));
}

/** RTMR2 of a launch. @param initrd SHA-384 of the initrd. @throws DecodeError */
export function launchRtmr(commandLine: string, initrd: DigestText<'sha384'>): Sha384 {
  return rtmrOf(
    rtmr2Events({ commandLine: sha384(commandLineEvent(commandLine)), initrd: parseDigest('sha384', initrd) }),
  );
}

function extension(label: string, digest: DigestText<'sha384'>): Sha384 {
  return sha384(concat(utf8(label), Uint8Array.of(0), parseDigest('sha384', digest)));
}
