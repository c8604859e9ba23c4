/** A policy that uses every section, which the tables change one thing at a time. */

/** 64 hex digits of one digit. */
export function hex(digit: string, length: number = 64): string {
  return digit.repeat(length);
}

/** An Ed25519 key in the form of a policy; another one for each letter. */
export function key(letter: string): string {
  return `ed25519:${letter.repeat(43)}`;
}

/** Line numbers matter to the tables: add lines at the end of a section only where the tables are changed with it. */
export const BASE: string = `enclaim: 1
system:
  name: clinic
  owner: { name: Clinic, contact: a@clinic.example }
  version: 3
  succeeds: sha384:${hex('a', 96)}
data:
  personal.health: { description: notes, subjects: [patient] }
  personal.email: { description: e-mail, subjects: [patient] }
  operational: { description: ids }
services:
  c.v1.Intake:
    Submit: { purpose: care, callers: [staff], accepts: [personal], stores: [cases], sends: [mailer], returns: [operational], interface: "sha256:${hex('e')}" }
    Read: { purpose: care, callers: [staff], accepts: [operational], reads: [cases], returns: [personal.health] }
collections:
  cases: { holds: [personal.health], retention: P30D }
  ids: { holds: [operational], storage: volatile, retention: unlimited }
subprocessors:
  mailer:
    address: https://mail.example.eu
    identity: { ca: system }
    region: eu-west
    receives: [personal.email]
    assurance: { kind: soc2-type2, document: "sha256:${hex('b')}", validUntil: "2027-03-31" }
declassify:
  - { id: notify, method: c.v1.Intake/Submit, to: mailer, call: POST /send, build: { to: $request.email }, owner: me, justification: asked for }
residency:
  regions: [eu-west, eu-central]
  witness: { name: GCE, kind: gcp-instance-identity, key: "sha256:${hex('c')}" }
access:
  identities:
    staff: { category: operational, receives: [personal], mtls: { ca: "sha256:${hex('d')}" } }
  cedar: |
    permit(principal is staff, action, resource);
governance:
  sovereignty: { minScore: 80, maxExternalCalls: 1 }
  leaks: { detectors: [email, iban, payment-card, credential], on: [egress, response, log] }
  resources: { memory: 256MiB, cpu: 500ms, wall: 5s, inFlight: 64, pressure: { memory: 20, cpu: 60 } }
overrides:
  - { id: OVR-7, suspends: leaks.email, on: c.v1.Intake/Submit, owner: me, ticket: T-1, justification: migration, expires: "2026-12-31" }
claims:
  - { id: rest, kind: encryption-at-rest, statement: Encrypted., controls: [soc2/cc6.1] }
  - { id: share, kind: no-undisclosed-recipients, statement: Not shared. }
  - { id: log, kind: access-logged, statement: Logged. }
  - { id: who, kind: authorised-access, statement: Authorised. }
  - { id: gone, kind: deleted-after-retention, statement: Deleted., data: [personal.health] }
  - { id: subs, kind: subprocessors-assured, statement: Assured. }
  - { id: here, kind: residency, statement: Here. }
  - { id: same, kind: audited-system, statement: The same. }
  - { id: local, kind: local-first, statement: Local. }
  - { id: leak, kind: no-leakage, statement: No leaks. }
  - { id: bound, kind: bounded-resources, statement: Bounded. }
evidence:
  review: { every: P30D, by: ["${key('A')}"] }
succession: { signers: ["${key('B')}", "${key('C')}"], threshold: 2, notice: P7D }
storage: { epoch: PT10M }
`;
