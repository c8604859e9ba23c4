/** The files of a new app: the smallest that checks, tests, bundles and boots. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { policyJsonSchema } from '@enclaim/policy-schema';
import { SCHEMA_FILE } from '@enclaim/policy-schema/schema';

/** The name of a new app, and the owner who answers for it. */
export interface AppIdentity {
  /** Lower-case words joined by -. */
  readonly name: string;
  readonly owner: string;
  readonly contact: string;
}

/** Path and content of each file of a new app. */
export async function scaffold({ name, owner, contact }: AppIdentity): Promise<ReadonlyMap<string, string>> {
  const pack = name.replaceAll('-', '_');
  const handling = fileURLToPath(import.meta.resolve('@enclaim/policy-schema/proto/enclaim/handling.proto'));
  return new Map([
    ['policy.yaml', policyOf(name, owner, contact, pack)],
    ['policy.test.yaml', casesOf(pack)],
    [SCHEMA_FILE, `${JSON.stringify(policyJsonSchema(), null, 2)}\n`],
    [`proto/${pack}/v1/notes.proto`, protoOf(pack)],
    ['proto/enclaim/handling.proto', await readFile(handling, 'utf8')],
    ['handlers/index.ts', handlersOf(pack)],
  ]);
}

function policyOf(name: string, owner: string, contact: string, pack: string): string {
  return `# yaml-language-server: $schema=${SCHEMA_FILE}
# What this system may do, at most. Nothing that is not here is allowed.
enclaim: 1

system:
  name: ${name}
  owner: { name: ${JSON.stringify(owner)}, contact: ${JSON.stringify(contact)} }
  version: 1

data:
  personal.note: { description: what a person wrote, subjects: [person] }
  operational:   { description: ids and timestamps without a person in them }

services:
  ${pack}.v1.Notes:
    Put:
      purpose: notes
      callers: [anyone]
      accepts: [personal.note]
      stores: [notes]
      returns: [operational]
    Get:
      purpose: notes
      callers: [anyone]
      accepts: [operational]
      reads: [notes]
      returns: [personal.note, operational]

collections:
  notes:
    holds: [personal.note, operational]
    storage: volatile
    retention: P30D

claims:
  - id: one-system
    kind: audited-system
    statement: The system that was audited is the system that runs.
    controls: [soc2/cc8.1, iso27001/a.8.32]
  - id: no-sharing
    kind: no-undisclosed-recipients
    statement: Notes are not shared with third parties.
    controls: [soc2/p6.1, gdpr/art.28]
`;
}

function casesOf(pack: string): string {
  return `# Flows that matter, and what the policy has to say about each: enclaim test
tests:
  - name: a note is kept
    method: ${pack}.v1.Notes/Put
    label: [personal.note]
    sink: store:notes
    expect: allow
  - name: putting does not read
    method: ${pack}.v1.Notes/Put
    sink: read:notes
    expect: deny
    because: reads
  - name: a note is given back
    method: ${pack}.v1.Notes/Get
    label: [personal.note]
    sink: response
    expect: allow
`;
}

function protoOf(pack: string): string {
  return `syntax = "proto3";

package ${pack}.v1;

import "enclaim/handling.proto";

service Notes {
  rpc Put(PutRequest) returns (PutResponse) {
    option (enclaim.handling) = {
      purpose: "notes"
      stores: ["notes"]
    };
  }

  rpc Get(GetRequest) returns (GetResponse) {
    option (enclaim.handling) = {
      purpose: "notes"
      reads: ["notes"]
    };
  }
}

message PutRequest {
  string text = 1 [(enclaim.data) = "personal.note"];
}

message PutResponse {
  string id = 1 [(enclaim.data) = "operational"];
}

message GetRequest {
  string id = 1 [(enclaim.data) = "operational"];
}

message GetResponse {
  string text = 1 [(enclaim.data) = "personal.note"];
}
`;
}

function handlersOf(pack: string): string {
  return `/** Handlers see what their method was granted, and nothing else. Values are proto3 JSON. */

interface Note {
  readonly text: string;
}

/** Thrown, it ends the call with a status of gRPC. */
declare const StatusError: new (code: 'NOT_FOUND', text: string) => Error;

interface Context {
  /** An identifier that the runtime made for this call. */
  readonly requestId: string;
  readonly store: {
    readonly notes: {
      get(key: string): Promise<Note | null>;
      put(key: string, value: Note): Promise<null>;
    };
  };
}

export const handlers: Readonly<Record<string, (request: never, ctx: Context) => Promise<unknown>>> = {
  '${pack}.v1.Notes/Put': async ({ text = '' }: Partial<Note>, ctx) => {
    await ctx.store.notes.put(ctx.requestId, { text });
    return { id: ctx.requestId };
  },

  '${pack}.v1.Notes/Get': async ({ id = '' }: { readonly id?: string }, ctx) => {
    const note = await ctx.store.notes.get(id);
    if (note === null) throw new StatusError('NOT_FOUND', 'no such note');
    return note;
  },
};
`;
}
