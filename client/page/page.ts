/** The auditor's page: evidence or a receipt and references in, the verdict out. Files are hostile: text only, no markup. */

import { parseReferences, type Verdict, withDeployments } from '@enclaim/attestation';
import { toHex } from '@enclaim/attestation/bytes';
import { parseDeployment } from '@enclaim/attestation/deployment';
import type { ComparedMessages } from '@enclaim/attestation/receipt';
import { parseReceiptFile, type VerifiedReceiptFile, verifyReceiptFile, verifySaved } from '@enclaim/client/offline';
import { parseDemand } from '@enclaim/policy-schema';

/** What a file was found to be worth. */
interface Finding {
  readonly verdict: Verdict;
  readonly receipt: Omit<VerifiedReceiptFile, 'verdict'> | null;
}

const COMPARED: Readonly<Record<ComparedMessages | 'not run', string>> = {
  both: 'compared',
  prefix: 'compared, of the request as far as it was taken',
  response: 'response only: the receipt commits to no message of the request',
  'not run': 'not run: the file holds none',
};

const element = <T extends Element>(id: string, type: new () => T): T => {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new TypeError(`the page has no ${id}`);
  return found;
};

const subject = element('subject', HTMLInputElement);
const references = element('references', HTMLInputElement);
const deployments = element('deployments', HTMLInputElement);
const demands = element('demands', HTMLTextAreaElement);
const now = element('now', HTMLInputElement);
const result = element('result', HTMLElement);

let latest = 0;

/** Verifies what is chosen; of two runs under way, only the one started last shows its result. */
async function verify(): Promise<void> {
  const run = ++latest;
  // What is shown speaks of what is chosen, and of nothing before it.
  result.hidden = true;
  result.replaceChildren();
  const [subjectFile, referencesFile] = [subject.files?.[0], references.files?.[0]];
  if (subjectFile === undefined || referencesFile === undefined) return;
  const shown = await examine(subjectFile, referencesFile, [...(deployments.files ?? [])]).then(
    describe,
    describeError,
  );
  if (run !== latest) return;
  result.replaceChildren(...shown);
  result.hidden = false;
}

async function examine(subjectFile: File, referencesFile: File, deploymentFiles: readonly File[]): Promise<Finding> {
  const content = await bytesOf(subjectFile);
  const time = now.value.trim() === '' ? Date.now() : Date.parse(now.value.trim());
  if (!Number.isFinite(time)) throw new TypeError('the time is none: expected 2026-11-20T12:00:00Z');
  const known = parseReferences(await bytesOf(referencesFile));
  const signed = await Promise.all(deploymentFiles.map(async (file) => parseDeployment(await bytesOf(file))));
  const options = {
    references: withDeployments(known, signed),
    demands: demands.value
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => parseDemand(line.trim())),
    now: () => time,
  };
  if (content[0] !== '{'.charCodeAt(0)) return { ...(await verifySaved(content, options)), receipt: null };
  const { verdict, ...receipt } = await verifyReceiptFile(parseReceiptFile(content), options);
  return { verdict, receipt };
}

async function bytesOf(file: File): Promise<Uint8Array> {
  return new Uint8Array(await file.arrayBuffer());
}

function describe({ verdict, receipt }: Finding): Element[] {
  const head = heading(verdict.ok, verdict.ok ? 'Verdict: ok' : 'Verdict: not ok');
  const facts = [
    ['platform', verdict.platform],
    ['policy', verdict.policy],
    ['bundle', verdict.bundle],
    ['boot', verdict.bootId],
  ];
  const checks = verdict.checks.map(({ id, outcome, required, detail, strength }) => [
    `${outcome}${required || outcome !== 'not run' ? '' : ', not required'}`,
    id,
    strength === undefined ? detail : `${detail} [${strength}]`,
  ]);
  const shown = [head, table(facts), table(checks)];
  if (receipt === null) return shown;
  const { method, sequence, time, record, decision } = receipt.body;
  const of = [
    ['method', method],
    ['answered', `${time}, number ${sequence} since boot`],
    ['decision', decision.result],
    ['label', decision.label.join(', ') || 'none'],
    ['record', record],
    ['messages', COMPARED[receipt.messages]],
  ];
  // The receipt is signed by the boot of a verdict that is not ok: it vouches for nothing.
  const words = verdict.ok ? 'signed by the receipt key of this boot' : 'of a boot that is refused';
  return [...shown, heading(verdict.ok, `Receipt: ${words}`), table(of), ...describeProof(receipt, verdict)];
}

/** The way from the record to the hardware, a row a step. */
function describeProof(
  { proof, later }: Pick<VerifiedReceiptFile, 'proof' | 'later'>,
  { ok, platform }: Verdict,
): Element[] {
  if (proof === null) return [];
  const { index, record, checkpoint, pathLength, batch } = proof;
  const { origin, size, root } = checkpoint;
  const steps = [
    ['leaf', `record ${index} of ${origin}, ${record}`],
    ['checkpoint', `size ${size}, root ${toHex(root)}, ${pathLength} hashes above the leaf, signed by the log key`],
    [
      'quote',
      `${platform}: covers leaf ${batch.index} of ${batch.size}, ${batch.pathLength} hashes above the checkpoint`,
    ],
    ...later.map(({ checkpoint: tree, verdict: { bootId, policy, ok: isExpected } }) => [
      'later boot',
      `${bootId} goes on from there: size ${tree.size}, policy ${policy}: ${isExpected ? 'as expected' : 'REFUSED'}`,
    ]),
  ];
  return [
    heading(ok, `Proof: ${ok ? 'the record is under a quote of the hardware' : 'of a boot that is refused'}`),
    table(steps),
  ];
}

function describeError(error: unknown): Element[] {
  const { name, message, code } = error as Error & { code?: string };
  const text = document.createElement('p');
  text.textContent = `${name}${code === undefined ? '' : ` ${code}`}: ${message}`;
  return [heading(false, 'Refused'), text];
}

function heading(ok: boolean, words: string): Element {
  const head = document.createElement('h2');
  head.className = ok ? 'ok' : 'bad';
  head.textContent = words;
  return head;
}

/** The first cell of a row names its colour. */
function table(rows: readonly (readonly string[])[]): Element {
  const body = document.createElement('table');
  for (const cells of rows) {
    const row = body.insertRow();
    for (const [place, text] of cells.entries()) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (place === 0) cell.className = text.startsWith('not run') ? 'not-run' : text;
    }
  }
  return body;
}

for (const input of [subject, references, deployments]) {
  const area = input.closest('label');
  input.addEventListener('change', () => void verify());
  area?.addEventListener('dragover', (event) => {
    event.preventDefault();
    area.classList.add('over');
  });
  area?.addEventListener('dragleave', () => area.classList.remove('over'));
  area?.addEventListener('drop', (event) => {
    event.preventDefault();
    area.classList.remove('over');
    const files = event.dataTransfer?.files;
    if (files === undefined || files.length === 0) return;
    input.files = files;
    void verify();
  });
}
for (const input of [demands, now]) input.addEventListener('change', () => void verify());
