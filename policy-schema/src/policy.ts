/**
 * The policy document, fully defaulted: what a system may do, at most. The grammar in `grammar.ts`
 * yields exactly this.
 */

import type { Category } from './category.ts';
import type { Day, Duration, Size, Time } from './quantity.ts';

/** `sha384:` and 96 lower-case hex digits: SHA-384 of a policy's canonical bytes. */
export type PolicyDigest = `sha384:${string}`;

/** `sha256:` and 64 lower-case hex digits. */
export type Sha256 = `sha256:${string}`;

/** `ed25519:` and the raw public key, base64url without padding. */
export type Ed25519 = `ed25519:${string}`;

/** The full name of a method: `clinic.v1.Intake/Submit`. */
export type MethodId = `${string}/${string}`;

/** The caller that no identity authenticated. */
export const ANYONE = 'anyone';

/**
 * A record without a prototype, so that a name out of a request or a descriptor finds only what was
 * declared.
 */
export type Named<T> = Readonly<Record<string, T>>;

/**
 * A policy. Nothing is implicit: every default is present, every list is a sorted set, an empty
 * list means none. Deeply frozen.
 */
export interface Policy {
  /** Version of this grammar. */
  readonly enclaim: 1;
  readonly system: System;
  /** The vocabulary of labels. */
  readonly data: Named<DataCategory>;
  /** Rules by service and method. A method without a rule cannot be exposed. */
  readonly services: Named<Named<Rule>>;
  readonly collections: Named<Collection>;
  /** How sealed collections are kept. Absent: a new epoch begins at each boot alone. */
  readonly storage?: Storage;
  /** Recipients outside that may be sent anything: the full list. */
  readonly subprocessors: Named<Subprocessor>;
  readonly declassify: readonly Declassification[];
  /** `none`: no promise about where. */
  readonly residency: Residency | 'none';
  readonly access: Access;
  readonly governance: Governance;
  readonly overrides: readonly Override[];
  /** Titles of controls that the built-in table lacks. */
  readonly controls: Named<string>;
  readonly claims: readonly Claim[];
  readonly evidence: EvidenceRules;
  /** `none`: no policy may succeed this one, and its sealed data dies with it. */
  readonly succession: Succession | 'none';
}

/** The system's name and version, and the owner who answers for it. */
export interface System {
  readonly name: string;
  readonly description: string;
  readonly owner: {
    readonly name: string;
    readonly contact: string;
    /** Signs deployments and brings secrets; `none`: clients cannot pin an owner. */
    readonly key: Ed25519 | 'none';
  };
  /** Only ever grows along a chain of policies. */
  readonly version: number;
  /** The policy before this one. */
  readonly succeeds: PolicyDigest | 'none';
}

/** A word of the vocabulary. */
export interface DataCategory {
  readonly description: string;
  /** Kinds of people the data is about; a category with subjects is personal. */
  readonly subjects: readonly string[];
}

/** Permissions of one method. */
export interface Rule {
  readonly purpose: string;
  /** Identities that may call it, or `anyone`. */
  readonly callers: readonly string[];
  /** Categories that requests may carry. */
  readonly accepts: readonly Category[];
  /** Collections it may read. */
  readonly reads: readonly string[];
  /** Collections it may write to and delete from. */
  readonly stores: readonly string[];
  /** Subprocessors it may send to. */
  readonly sends: readonly string[];
  /** Categories that responses may carry. */
  readonly returns: readonly Category[];
  /**
   * Digest of the method's messages and their categories (`interfaceDigest`). `any`: the messages
   * may change without the policy, and for that reason every request is labelled with all that the
   * method accepts.
   */
  readonly interface: Sha256 | 'any';
}

/** A set of records. Always encrypted. */
export interface Collection {
  readonly holds: readonly Category[];
  /**
   * `sealed`: on the state disk under the sealed key. `volatile`: in the VM's memory, gone with it.
   */
  readonly storage: 'sealed' | 'volatile';
  /** After this, a record cannot be read and its key is destroyed. */
  readonly retention: Duration | 'unlimited';
  /** Full name of the message that every record is, as proto3 JSON. Absent: any JSON. */
  readonly message?: string;
  /** Fields of that message whose values records are listed by. Absent: none. */
  readonly indexes?: readonly string[];
}

/** How sealed collections are kept. */
export interface Storage {
  /**
   * A new epoch begins at each boot, and after this time at the latest. The key of the epoch before
   * is destroyed then, and with it what was deleted meanwhile. Until then, an older copy of the
   * disk still holds it.
   */
  readonly epoch: Duration;
  /** The machine that keeps the keys where a machine has no TPM. */
  readonly keeper?: PeerKeeper;
  /** The machines whose keys this one keeps, where it has a TPM. */
  readonly keeps?: KeptMachines;
}

/** Machines as their evidence has to show them. */
interface AttestedMachines {
  /** Base images that they run: SHA-256 of their UKI. */
  readonly images: readonly Sha256[];
  /** References as JSON text, without the members that the policy or the machine itself names. */
  readonly references: string;
}

/** An attested machine that keeps keys of machines without a TPM. */
export interface PeerKeeper extends AttestedMachines {
  /** `https://host` or `https://host:port`. */
  readonly address: string;
  /** The policy that it runs under. `same`: the policy in which this stands. */
  readonly policy: PolicyDigest | 'same';
}

/** Attested machines for which keys are kept. */
export interface KeptMachines extends AttestedMachines {
  /** Owners that their policies name. */
  readonly owners: readonly Ed25519[];
}

/** A recipient outside, which may be sent data. */
export interface Subprocessor {
  readonly description: string;
  /** Origin: `https://host[:port]`, a name and never an address. */
  readonly address: string;
  readonly identity: PeerIdentity;
  readonly region: string;
  /**
   * Calls that handlers may make there: `pkg.Service/Method`, or `POST /path`. At an address that
   * several recipients share, the path says whose part of it is meant. Releases name their own
   * call.
   */
  readonly calls: readonly string[];
  readonly receives: readonly Category[];
  readonly assurance: Assurance | 'none';
  /** The header or certificate that the runtime shows it. Absent: none. */
  readonly credential?: Credential;
}

/**
 * That by which a subprocessor knows this system. The owner brings the secret of it to a running
 * system; a policy, which anyone may read, has its name alone. Subprocessors that name the same one
 * are shown the same.
 */
export type Credential = HeaderCredential | CertificateCredential;

/** A header that the runtime adds to each message. */
export interface HeaderCredential {
  /** In small letters. */
  readonly header: string;
  /** Word before the secret and a space, such as `Bearer`. Absent: none. */
  readonly scheme?: string;
  /** Name of the secret. */
  readonly secret: string;
}

/** A client certificate of the TLS handshake. */
export interface CertificateCredential {
  /** Name of the secret: a key, and a chain for it. */
  readonly certificate: string;
}

/** How the runtime knows that it speaks to the subprocessor. Exactly one key. */
export interface PeerIdentity {
  /** Pinned public keys: `sha256/` and the base64 SHA-256 of the SubjectPublicKeyInfo. */
  readonly spki?: readonly string[];
  /** `system`: any public CA; else the SHA-256 of one CA certificate (DER). */
  readonly ca?: 'system' | Sha256;
  /**
   * Another system under Enclaim, by its policy and base image. `references`: values that its
   * evidence is held against, as `enclaim references` writes them. Without them, the runtime could
   * hold no machine to be that system.
   */
  readonly attested?: {
    readonly policy: PolicyDigest;
    readonly image: Sha256 | 'any';
    readonly references?: string;
  };
}

/** A document in which a third party vouches for a subprocessor. */
export interface Assurance {
  /** Such as `soc2-type2` or `iso27001`. */
  readonly kind: string;
  readonly document: Sha256;
  /** Nothing is sent after this day. */
  readonly validUntil: Day;
}

/** A message that the runtime itself builds and sends, so that a handler can only trigger it. */
export interface Declassification {
  readonly id: string;
  readonly method: MethodId;
  /** The subprocessor that gets the message. */
  readonly to: string;
  /** The call that carries the message: `pkg.Service/Method`, or `POST /path`. */
  readonly call: string;
  /**
   * Fields of the outgoing message, each one of:
   *
   * - fixed text;
   * - `$request.patient.birth_date` (names of the .proto, which the rule has to pin with
   *   `interface`);
   * - `$record.cases.email`, of the record that the handler names. A handler put there what is in a
   *   record, so it carries the label of its record, whatever its field is called.
   */
  readonly build: Named<string>;
  readonly owner: string;
  readonly justification: string;
}

/** Where data may be. */
export interface Residency {
  readonly regions: readonly string[];
  readonly witness: Witness | 'none';
}

/**
 * A signer that says where this VM runs. Residency is never measured, only asserted by a named
 * signer.
 */
export interface Witness {
  readonly name: string;
  readonly kind: 'aws-instance-identity' | 'azure-attested-document' | 'gcp-instance-identity' | 'statement';
  /** Key or certificate (SHA-256 of its DER) that signs the assertion. */
  readonly key: Ed25519 | Sha256;
}

/** Callers that may call, and how. */
export interface Access {
  readonly identities: Named<Identity>;
  /**
   * Methods that answer on attested connections alone, whose callers were given evidence first:
   * all, those that personal data may come to or leave by, or some. Absent: none, and any
   * connection of TLS will do.
   */
  readonly attested?: 'all' | 'personal' | readonly MethodId[];
  /**
   * Cedar policies, held against every call besides the rule's `callers`; empty: the callers alone
   * decide.
   */
  readonly cedar: string;
}

/** A way to know a caller. Exactly one of `oidc` and `mtls`. */
export interface Identity {
  /**
   * Category of the caller's identity itself: added to the label of each of that caller's requests.
   */
  readonly category: Category;
  /** Categories that callers of this kind may be sent, at most. */
  readonly receives: readonly Category[];
  readonly oidc?: Oidc;
  readonly mtls?: { readonly ca: Sha256 };
}

/** Bearer tokens of one issuer, whose keys are here and nowhere else. */
export interface Oidc {
  readonly issuer: string;
  readonly audience: string;
  /**
   * By key id: the one algorithm the key is for, a colon, and its SubjectPublicKeyInfo (DER,
   * base64url).
   */
  readonly keys: Named<string>;
  /** The token's claim that lists the caller's groups. */
  readonly groups: string;
}

/** Limits on how the system behaves. `none`: nothing is promised about it. */
export interface Governance {
  readonly sovereignty: Sovereignty | 'none';
  readonly leaks: Leaks | 'none';
  readonly resources: Resources | 'none';
}

/** How much a request may depend on peers outside. */
export interface Sovereignty {
  /** Percent. */
  readonly minScore: number;
  /** Per request. */
  readonly maxExternalCalls: number;
}

/** Text that must not leave, whatever its label. */
export interface Leaks {
  readonly detectors: readonly LeakDetector[];
  readonly on: readonly LeakSurface[];
}

/** Kinds of text that a detector knows. */
export const LEAK_DETECTORS = ['credential', 'email', 'exact-match', 'iban', 'payment-card'] as const;
/** One of {@link LEAK_DETECTORS}. */
export type LeakDetector = (typeof LEAK_DETECTORS)[number];

/** Where detectors look. */
export const LEAK_SURFACES = ['egress', 'log', 'response'] as const;
/** One of {@link LEAK_SURFACES}. */
export type LeakSurface = (typeof LEAK_SURFACES)[number];

/** Resources that one request may use. */
export interface Budget {
  readonly memory: Size;
  readonly cpu: Time;
  readonly wall: Time;
}

/** Limits for every method, and narrower ones for some. */
export interface Resources extends Budget {
  /** Requests at once. */
  readonly inFlight: number;
  /** Percent of time stalled (PSI `some avg10`) above which nothing is admitted. */
  readonly pressure: { readonly memory: number; readonly cpu: number };
  /** Degrees Celsius above which nothing is admitted, if the platform shows a sensor. */
  readonly thermal: number | 'none';
  readonly methods: Named<Budget>;
}

/** A dated, owned hole in the limit. It is part of the digest and stops by itself. */
export interface Override {
  readonly id: string;
  /**
   * The suspended limit: `leaks.email`, `sovereignty.minScore`, `resources.wall`,
   * `assurance.mailer`.
   */
  readonly suspends: string;
  readonly on: MethodId;
  readonly owner: string;
  readonly ticket: string;
  readonly justification: string;
  readonly expires: Day;
}

/** The kinds of claim that the compiler can hold against the other sections. */
export type ClaimKind =
  | 'access-logged'
  | 'audited-system'
  | 'authorised-access'
  | 'bounded-resources'
  | 'deleted-after-retention'
  | 'encryption-at-rest'
  | 'local-first'
  | 'no-leakage'
  | 'no-undisclosed-recipients'
  | 'residency'
  | 'subprocessors-assured';

/** A sentence for people, and the kind that makes it checkable. */
export interface Claim {
  readonly id: string;
  readonly kind: ClaimKind;
  readonly statement: string;
  /** The data it is about; `all`: the whole vocabulary. */
  readonly data: readonly Category[] | 'all';
  /** `framework/control`, such as `soc2/cc6.1`. */
  readonly controls: readonly string[];
}

/** How the evidence log is kept. */
export interface EvidenceRules {
  /** Events that handlers may put on record; left out if there are none. */
  readonly events?: readonly string[];
  /** `before-response`: no response leaves before its record is on stable storage. */
  readonly durability: 'before-response' | 'batched';
  readonly retention: Duration | 'unlimited';
  readonly review: Review | 'none';
  /**
   * Witnesses of checkpoints: lines of C2SP tlog-policy in any order (`witness`, `group`,
   * `quorum`), or bare verifier keys that must all cosign.
   */
  readonly witnesses: readonly string[];
  /**
   * Time within which a record is under a quote of the hardware; `0s`: once a proof is asked for.
   * Absent: one second.
   */
  readonly quoted?: Time;
  /** Records served beyond the last cosigned checkpoint. Absent: any number. */
  readonly unwitnessed?: number;
  /**
   * Verifier key whose cosignature lets the log forget records, because its mirror holds them.
   * Absent: nothing is forgotten.
   */
  readonly mirror?: string;
  /** Keys whose records of pre-commit and CI enter the log as asserted. */
  readonly pipeline: readonly Ed25519[];
  /**
   * Keys that may read entries of the log. Absent: none may; hashes and checkpoints are for anyone.
   */
  readonly readers?: readonly Ed25519[];
}

/**
 * The reviewers of the log, and how often they look. A period without a signed review is a finding.
 */
export interface Review {
  readonly every: Duration;
  readonly by: readonly Ed25519[];
}

/** Conditions for the next policy to take over sealed data. */
export interface Succession {
  readonly signers: readonly Ed25519[];
  /** How many of them. */
  readonly threshold: number;
  /** How long it must have been in the log. */
  readonly notice: Duration;
}
