/**
 * On SEV-SNP and TDX, too, the proof of a call's record is complete: saved with the collateral that
 * its quote needs, it verifies offline as of its time, years after lists and certificates ran out.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { fromBase64, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { LogProofSchema } from '@enclaim/attestation/log-service';
import { launchCommandLine } from '@enclaim/attestation/measure';
import type { TdxReference } from '@enclaim/attestation/references';
import { type CheckedReceipt, connect, parseReceiptFile, receiptFile, verifyReceiptFile } from '@enclaim/client';
import type { CollateralSource } from '@enclaim/client/network';
import { prove } from '@enclaim/client/proof';
import { Client, credentials } from '@grpc/grpc-js';
import { EPOCH } from './fakes/certificates.ts';
import { certificateTable, FakeTsmTree } from './fakes/configfs-tsm.ts';
import { FakePsp } from './fakes/psp.ts';
import { FakeQuotingEnclave } from './fakes/quoting-enclave.ts';
import { bootEvents, eventReferences, FakeTrustDomain } from './fakes/trust-domain.ts';
import { clinicBundle } from './support/app.ts';
import { type Booted, boot, intelServices, now, referencesFor, snpLaunch } from './support/silicon.ts';

const COMMAND_LINE = 'quiet panic=-1';
const YEARS = 30 * 365 * 86_400_000;
const PATIENT = Buffer.from('\n\x04\x12\x02p1', 'latin1');
const id = digestText('sha256', sha256(utf8('image')));

/** Machines, what accepts them, and where their collateral comes from. */
interface Machine extends AsyncDisposable {
  readonly server: Booted;
  readonly references: References;
  readonly collateral?: CollateralSource;
}

async function snp(): Promise<Machine> {
  const bundle = await clinicBundle();
  const psp = new FakePsp();
  const { reference, measure } = await snpLaunch({ id, commandLine: COMMAND_LINE });
  const commandLine = launchCommandLine(reference, bundle.policy);
  const measurement = await measure(commandLine);
  const auxblob = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });
  const tree = new FakeTsmTree((reportData: Uint8Array) => ({
    provider: 'sev_guest',
    outblob: psp.report({ reportData, measurement }),
    auxblob,
  }));
  const server = await boot(bundle, tree, { commandLine });
  const references = referencesFor(bundle, psp.pins, { snp: [reference] });
  return { server, references, [Symbol.asyncDispose]: () => server.stop() };
}

async function tdx(): Promise<Machine> {
  const bundle = await clinicBundle();
  const enclave = new FakeQuotingEnclave();
  const initrd = digestText('sha384', sha384(utf8('initrd')));
  const mrTd = sha384(utf8('mrtd'));
  const line = launchCommandLine({ commandLine: COMMAND_LINE }, bundle.policy);
  const events = bootEvents(line, initrd);
  const reference: TdxReference = {
    ...{ id, mrtd: digestText('sha384', mrTd), initrd, commandLine: COMMAND_LINE, commandLineEnd: '' },
    ...{ rtmr0: eventReferences(events, 0), rtmr1: eventReferences(events, 1), rtmr3: 'policy' },
  };
  const domain = new FakeTrustDomain(enclave, { mrTd, events, logged: null, fields: () => ({}) });
  const tree = new FakeTsmTree((data) => domain.report(data));
  const server = await boot(bundle, tree, { commandLine: line, measurements: domain.measurements });
  const references = referencesFor(bundle, enclave.pins, { tdx: [reference] });
  return { server, references, collateral: intelServices(enclave), [Symbol.asyncDispose]: () => server.stop() };
}

/** The file of one call with its proof, as `enclaim call --prove --save-receipt` writes it. */
async function proven({ server, references, collateral }: Machine): Promise<Uint8Array> {
  const receipts: CheckedReceipt[] = [];
  const options = { references, now, ...(collateral && { collateral }) };
  await using channel = await connect(server.target, {
    ...options,
    onReceipt: (receipt) => void receipts.push(receipt),
  });
  const client = new Client(server.target, credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  await new Promise((resolve, reject) => {
    client.makeUnaryRequest('/clinic.v1.Intake/Submit', same, same, PATIENT, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
  const [receipt = assert.fail('a call has a receipt')] = receipts;
  const { bytes } = await prove(channel, receipt, options);
  return receiptFile(receipt, undefined, bytes);
}

/** A proof without its collateral. */
function bared(bytes: Uint8Array): Uint8Array {
  const proof = fromBinary(LogProofSchema, bytes);
  const { hardware } = proof.evidence ?? assert.fail();
  if (hardware.case === 'snp') hardware.value.certificates = [];
  else if (hardware.case === 'tdx') delete hardware.value.collateral;
  else assert.fail(hardware.case);
  return toBinary(LogProofSchema, proof);
}

for (const [name, open] of [
  ['snp', snp],
  ['tdx', tdx],
] as const)
  describe(name, () => {
    test('a saved proof verifies offline as of its time, and not by a clock of years later', async () => {
      await using machine = await open();
      const file = parseReceiptFile(await proven(machine));
      assert.equal(file.enclaim, 'receipt/2');
      const { references } = machine;
      const then = await verifyReceiptFile(file, { references, now });
      assert.equal(
        then.verdict.ok,
        true,
        JSON.stringify(then.verdict.checks.filter(({ outcome }) => outcome === 'failed')),
      );
      assert.equal(then.verdict.platform, name);
      assert.equal(then.messages, 'both');
      assert.notEqual(then.proof, null);
      const later = verifyReceiptFile(file, { references, now: () => EPOCH + YEARS });
      await assert.rejects(later, { name: 'EvidenceError' });
      const bare = { ...file, proof: toBase64(bared(fromBase64(file.proof))) };
      const isOk = ({ verdict }: { readonly verdict: { readonly ok: boolean } }): boolean => verdict.ok;
      assert.equal(await verifyReceiptFile(bare, { references, now }).then(isOk, () => false), false);
    });
  });
