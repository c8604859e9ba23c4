/**
 * Table of the rooms (docs/contribute/architecture.md): which imports which, and the
 * order of the folders in each.
 */

/**
 * Rooms and the rooms they may import. `test`, `scripts` and `bench` may import anything and are
 * imported by none.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'policy-schema': [],
  attestation: ['policy-schema'],
  runtime: ['attestation', 'policy-schema'],
  guest: ['runtime', 'attestation', 'policy-schema'],
  image: ['attestation', 'policy-schema'],
  client: ['attestation', 'policy-schema'],
  evidence: ['attestation', 'policy-schema'],
  cli: ['policy-schema', 'attestation', 'runtime', 'guest', 'image', 'client', 'evidence'],
  examples: [],
};
/** Folders at the root that may import anything. */
export const ANYTHING: readonly string[] = ['test', 'scripts', 'bench'];
/**
 * Folders of a room from top to bottom: each imports only those below it. A file beside them stands
 * above the folders that it imports, and below those that import it.
 */
export const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  'policy-schema': ['compare', 'match', 'read'],
  attestation: [
    ...[
      'log',
      'rats',
      'intoto',
      'appraise',
      'evidence',
      'azure',
      'gcp',
      'nitro',
      'references',
      'release',
      'measure',
      'scitt',
      'tlog',
    ],
    ...['snp', 'tdx', 'tpm', 'x509', 'verdict', 'cbor', 'hash', 'crypto'],
  ],
  runtime: [
    ...[
      'dev',
      'worker/process',
      'worker/realm',
      'channel',
      'call',
      'boot',
      'hardware',
      'egress',
      'storage/sealed',
      'log',
      'admission',
      'flow',
    ],
    ...['message/transcoder', 'message', 'storage', 'worker', 'governor'],
  ],
  guest: ['platform', 'tsm', 'linux', 'tpm'],
  image: ['disk', 'machine', 'audit', 'release', 'publish', 'build', 'describe', 'programs', 'inputs', 'formats'],
  client: ['log', 'witness', 'proxy'],
  cli: ['dev', 'witness', 'state', 'image', 'policy', 'manual'],
};

/** A room and every room that imports it, directly or by way of another. */
export function withThoseAbove(rooms: Iterable<string>): string[] {
  const found = new Set(rooms);
  // A set is walked with what is added meanwhile.
  for (const room of found)
    for (const [above, below] of Object.entries(MAY_IMPORT)) if (below.includes(room)) found.add(above);
  return Object.keys(MAY_IMPORT).filter((room) => found.has(room));
}
