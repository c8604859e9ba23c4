/**
 * Collateral that evidence came without, from the makers' own services, cached.
 *
 * **Trust**: none of it is believed as fetched; its makers signed it, and verification checks that.
 */

import { create } from '@bufbuild/protobuf';
import { parseHclReport } from '@enclaim/attestation/azure';
import { fromHex, fromUtf8, toHex } from '@enclaim/attestation/bytes';
import { CollateralError } from '@enclaim/attestation/errors';
import {
  type Evidence,
  type GcpEvidence,
  type QuotedTd,
  type SnpCollateral,
  SnpCollateralSchema,
  TdxCollateralSchema,
} from '@enclaim/attestation/evidence';
import { parsePart } from '@enclaim/attestation/part';
import { parseReport, productOf, type SnpReport, tcbVersion } from '@enclaim/attestation/snp';
import { parseQuote, readPckPlatform, type TdxCollateral } from '@enclaim/attestation/tdx';
import { parseCertificate, parsePem } from '@enclaim/attestation/x509';

/** Where a connection gets what its evidence came without. */
export interface CollateralSource {
  /**
   * Fills in what is missing, and leaves alone what is there.
   * @throws CollateralError, EvidenceError `format`
   */
  complete(evidence: Evidence): Promise<void>;
}

/** How a source works; by default over this machine's network. */
export interface VendorCollateralOptions {
  readonly fetch?: typeof fetch;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds that an answer is used before it is asked for again; by default an hour. */
  readonly keep?: number;
}

const AMD = 'https://kdsintf.amd.com';
const INTEL = 'https://api.trustedservices.intel.com';
const INTEL_ROOT_CRL = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der';

const GOOGLE = 'https://storage.googleapis.com/gce_tcb_integrity/ovmf_x64_csm';
const GOOGLE_ROOT = 'https://pki.goog/cloud_integrity/GCE-cc-tcb-root_1.crt';

const MAX_ANSWER_BYTES = 1 << 20;
const MAX_ANSWER_MS = 10_000;
const MAX_KEPT_ANSWERS = 1024;
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 300_000;

interface Answer {
  readonly body: Uint8Array;
  readonly headers: Headers;
}

/** One address: the last good answer, the fetch under way, and until when it is left alone. */
interface Place {
  answer?: Answer;
  fetched: number;
  failures: number;
  /** Not before this time is it asked again. */
  retryAt: number;
  running?: Promise<Answer>;
}

/**
 * The services of AMD (KDS) and Intel (PCS version 4), and Google's endorsements of its firmware.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { VendorCollateral } from '@enclaim/client/network';
 *
 * await using server = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 *   collateral: new VendorCollateral({ keep: 600_000 }), // makers' answers, for ten minutes
 * });
 * console.log(server.getTarget());
 * ```
 */
export class VendorCollateral implements CollateralSource {
  readonly #fetch: typeof fetch;
  readonly #now: () => number;
  readonly #keep: number;
  readonly #places = new Map<string, Place>();

  constructor({ fetch: fetchFrom = fetch, now = Date.now, keep = 3_600_000 }: VendorCollateralOptions = {}) {
    this.#fetch = fetchFrom;
    this.#now = now;
    this.#keep = keep;
  }

  async complete({ hardware }: Evidence): Promise<void> {
    switch (hardware.case) {
      case 'snp':
        return this.#completeSnp(hardware.value, hardware.value.report);
      case 'tdx':
        return this.#completeTdx(hardware.value);
      case 'azure': {
        const { silicon, hclReport } = hardware.value;
        if (silicon.case === 'tdx') return this.#completeTdx(silicon.value);
        const { hardwareReport } = parsePart('format', 'HCL report', hclReport, parseHclReport);
        if (silicon.case === 'snp') await this.#completeSnp(silicon.value, hardwareReport);
        return;
      }
      case 'gcp':
        return this.#completeGcp(hardware.value);
    }
  }

  async #completeSnp(collateral: Pick<SnpCollateral, 'certificates' | 'crl'>, bytes: Uint8Array): Promise<void> {
    const report = parsePart('format', 'report', bytes, parseReport);
    if (collateral.certificates.length === 0) collateral.certificates = await this.#amdCertificates(report);
    if (collateral.crl.length === 0) collateral.crl = await this.#body(`${amdFolder(report)}/crl`);
  }

  async #completeTdx(quoted: Pick<QuotedTd, 'quote' | 'collateral'>): Promise<void> {
    if (quoted.collateral !== undefined) return;
    const { tcbInfoChain, qeIdentityChain, ...rest } = await this.#intel(quoted.quote);
    const chains = { tcbInfoChain: [...tcbInfoChain], qeIdentityChain: [...qeIdentityChain] };
    quoted.collateral = create(TdxCollateralSchema, { ...rest, ...chains });
  }

  /** Google's endorsement of what was measured is found by the measurement. */
  async #completeGcp(gcp: GcpEvidence): Promise<void> {
    const { silicon } = gcp;
    if (silicon.case === undefined) return;
    let measured: Uint8Array;
    if (silicon.case === 'tdx') {
      await this.#completeTdx(silicon.value);
      measured = parsePart('format', 'quote', silicon.value.quote, parseQuote).report.mrTd;
    } else {
      silicon.value.collateral ??= create(SnpCollateralSchema);
      await this.#completeSnp(silicon.value.collateral, silicon.value.report);
      measured = parsePart('format', 'report', silicon.value.report, parseReport).measurement;
    }
    if (gcp.endorsement.length > 0) return;
    const folder = silicon.case === 'snp' ? 'sevsnp' : 'tdx';
    const endorsement = this.#body(`${GOOGLE}/${folder}/${toHex(measured)}.binarypb`);
    const [found, root] = await Promise.allSettled([endorsement, this.#body(GOOGLE_ROOT)]);
    // References may name the firmware themselves. If they rest on Google's word, the verdict says
    // that there is none.
    if (found.status === 'rejected' || root.status === 'rejected') return;
    gcp.endorsement = found.value;
    gcp.endorsementCertificates = [root.value];
  }

  async #amdCertificates(report: SnpReport): Promise<Uint8Array[]> {
    if (report.signer !== 'VCEK') {
      throw new CollateralError(
        'missing',
        `the certificate of a ${report.signer ?? 'key that is none'} comes from its host alone`,
      );
    }
    const folder = amdFolder(report);
    const product = requireProduct(report);
    const version = parsePart('format', 'TCB version', report.reportedTcb, (tcb) => tcbVersion(product, tcb));
    const { fmc, bootloader, tee, snp, microcode } = version;
    const levels = { fmcSPL: fmc, blSPL: bootloader, teeSPL: tee, snpSPL: snp, ucodeSPL: microcode };
    const query = Object.entries(levels)
      .filter(([, level]) => level !== undefined)
      .map(([name, level]) => `${name}=${String(level).padStart(2, '0')}`)
      .join('&');
    const id = toHex(product === 'Turin' ? report.chipId.subarray(0, 8) : report.chipId);
    const [leaf, chain] = await Promise.all([
      this.#body(`${folder}/${id}?${query}`),
      this.#body(`${folder}/cert_chain`),
    ]);
    return [leaf, ...readPem(chain)];
  }

  async #intel(quote: Uint8Array): Promise<TdxCollateral> {
    const [leaf] = parsePart('format', 'quote', quote, parseQuote).pckChain;
    if (leaf === undefined) throw new CollateralError('missing', 'the quote names no platform');
    const certificate = parsePart('chain', 'PCK certificate', leaf, parseCertificate);
    const { fmspc } = parsePart('identity', 'PCK certificate', certificate, readPckPlatform);
    // Intel's two issuers differ in this one word of their names.
    const ca = fromLatin(certificate.issuer).includes('Processor') ? 'processor' : 'platform';
    const [tcb, qe, pckCrl, rootCrl] = await Promise.all([
      this.#answer(`${INTEL}/tdx/certification/v4/tcb?fmspc=${fmspc}`),
      this.#answer(`${INTEL}/tdx/certification/v4/qe/identity`),
      this.#body(`${INTEL}/sgx/certification/v4/pckcrl?ca=${ca}&encoding=der`),
      this.#body(INTEL_ROOT_CRL),
    ]);
    const tcbInfo = signedObject('tcbInfo', tcb.body);
    const qeIdentity = signedObject('enclaveIdentity', qe.body);
    return {
      tcbInfo: tcbInfo.text,
      tcbInfoSignature: tcbInfo.signature,
      qeIdentity: qeIdentity.text,
      qeIdentitySignature: qeIdentity.signature,
      tcbInfoChain: chainIn(tcb.headers, 'TCB-Info-Issuer-Chain'),
      qeIdentityChain: chainIn(qe.headers, 'SGX-Enclave-Identity-Issuer-Chain'),
      pckCrl,
      rootCrl,
    };
  }

  async #body(url: string): Promise<Uint8Array> {
    return (await this.#answer(url)).body;
  }

  /**
   * An answer from the cache while it is fresh; else fetched, once for all callers who ask. An
   * older answer is better than none, because it is dated.
   */
  async #answer(url: string): Promise<Answer> {
    const place = this.#place(url);
    if (place.answer !== undefined && this.#now() - place.fetched < this.#keep) return place.answer;
    if (this.#now() < place.retryAt) {
      if (place.answer !== undefined) return place.answer;
      throw new CollateralError('unreachable', `${url} failed ${place.failures} times and is left alone for now`);
    }
    place.running ??= this.#refresh(url, place).finally(() => {
      delete place.running;
    });
    return place.running;
  }

  async #refresh(url: string, place: Place): Promise<Answer> {
    try {
      place.answer = await this.#get(url);
      place.fetched = this.#now();
      place.failures = 0;
      return place.answer;
    } catch (error) {
      const wait = Math.min(FIRST_WAIT_MS * 2 ** place.failures++, MAX_WAIT_MS);
      place.retryAt = this.#now() + wait * (0.5 + Math.random() / 2);
      if (place.answer !== undefined) return place.answer;
      throw error;
    }
  }

  async #get(url: string): Promise<Answer> {
    try {
      const response = await this.#fetch(url, { redirect: 'error', signal: AbortSignal.timeout(MAX_ANSWER_MS) });
      if (!response.ok)
        throw new CollateralError('missing', `${url} answers ${response.status}`, {
          retryable: response.status >= 429,
        });
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES)
          throw new CollateralError('missing', `${url} answers with more than ${MAX_ANSWER_BYTES} bytes`);
        chunks.push(chunk);
      }
      return { body: Buffer.concat(chunks), headers: response.headers };
    } catch (cause) {
      if (cause instanceof CollateralError) throw cause;
      throw new CollateralError('unreachable', `${url} cannot be reached: ${(cause as Error).message}`, { cause });
    }
  }

  #place(url: string): Place {
    const known = this.#places.get(url);
    if (known !== undefined) return known;
    const [oldest] = this.#places.keys();
    if (this.#places.size >= MAX_KEPT_ANSWERS && oldest !== undefined) this.#places.delete(oldest);
    const place: Place = { fetched: 0, failures: 0, retryAt: 0 };
    this.#places.set(url, place);
    return place;
  }
}

function requireProduct({ cpu }: SnpReport): NonNullable<ReturnType<typeof productOf>> {
  const product = cpu === undefined ? undefined : productOf(cpu);
  if (product === undefined) throw new CollateralError('missing', 'the report does not say of which product it is');
  return product;
}

function amdFolder(report: SnpReport): string {
  return `${AMD}/${report.signer === 'VLEK' ? 'vlek' : 'vcek'}/v1/${requireProduct(report)}`;
}

function readPem(text: Uint8Array): Uint8Array[] {
  try {
    return parsePem(fromUtf8(text), 'CERTIFICATE');
  } catch (cause) {
    throw new CollateralError('missing', `no certificates in the answer: ${(cause as Error).message}`, { cause });
  }
}

function chainIn(headers: Headers, name: string): Uint8Array[] {
  const value = headers.get(name);
  if (value === null) throw new CollateralError('missing', `an answer without ${name}`);
  try {
    return parsePem(decodeURIComponent(value), 'CERTIFICATE');
  } catch (cause) {
    throw new CollateralError('missing', `${name} holds no certificates: ${(cause as Error).message}`, { cause });
  }
}

/** The very text that was signed: an object within an object, never written anew. */
function signedObject(name: string, body: Uint8Array): { text: Uint8Array; signature: Uint8Array } {
  const pattern = new RegExp(`^\\{"${name}":(\\{.*\\}),"signature":"([0-9a-fA-F]{128})"\\}\\s*$`, 's');
  // Byte for byte: what is not ASCII in it must come out as it went in.
  const [, text, signature] = pattern.exec(fromLatin(body)) ?? [];
  if (text === undefined || signature === undefined) {
    throw new CollateralError('missing', `the answer is not a signed ${name}`);
  }
  return { text: Buffer.from(text, 'latin1'), signature: fromHex(signature) };
}

function fromLatin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
