/** The clinic under policy.notify.yaml, with a mailer of the test in place of the one it names. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import type { FakeSubprocessor } from '../fakes/subprocessor.ts';

const clinic = join(import.meta.dirname, '../../examples/clinic');

/** The name that the policy has for the mailer. */
export const MAILER_NAME = 'mail.example.eu';
/** The method that a patient's case comes in by. */
export const SUBMIT = '/clinic.v1.Intake/Submit';

/**
 * The bundle.
 *
 * @param shown the owner's key, and the secret that the mailer is shown: a bearer token, or a client certificate
 */
export async function notifyBundle(
  { port, spki }: Pick<FakeSubprocessor, 'port' | 'spki'>,
  shown?:
    | { readonly owner: string; readonly secret: string }
    | { readonly owner: string; readonly certificate: string },
): Promise<BuiltBundle> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-notify-'));
  try {
    const policyFile = join(folder, 'policy.yaml');
    const policy = await readFile(join(clinic, 'policy.notify.yaml'), 'utf8');
    const here = policy
      .replace(`https://${MAILER_NAME}`, `https://${MAILER_NAME}:${port}`)
      .replace(/sha256\/[A-Za-z0-9+/]{43}=/, spki);
    const credential =
      shown !== undefined && 'certificate' in shown
        ? `credential: { certificate: ${shown.certificate} }`
        : `credential: { header: authorization, scheme: Bearer, secret: ${shown?.secret} }`;
    const whole = shown
      ? here
          .replace('contact: privacy@clinic.example', `contact: privacy@clinic.example, key: "${shown.owner}"`)
          .replace('    assurance:', `    ${credential}\n    assurance:`)
      : here;
    await writeFile(policyFile, whole);
    const handlersEntry = join(clinic, 'handlers/index.ts');
    return await buildBundle({ policyFile, protoDir: join(clinic, 'proto'), handlersEntry });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A case on the wire: a diagnosis, and where to send word. */
export function caseOf(address: string | null): Buffer {
  const field = (number: number, bytes: Uint8Array): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const note = field(2, Buffer.from('HIV positive')); // Annotation.text
  const observation = field(2, field(14, note));
  return address === null ? observation : Buffer.concat([observation, field(3, Buffer.from(address))]);
}
