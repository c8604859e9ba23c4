/** A guest that keeps a key on its state disk with the machine's TPM, and says what it found there. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import {
  awaitDisk,
  loadModules,
  mountBase,
  neverExit,
  readCommandLine,
  restrictForGood,
} from '../../guest/src/linux/index.ts';
import { openTpmPlatform } from '../../guest/src/platform/tpm.ts';
import { openAttester, openTpmDevice } from '../../guest/src/tpm/index.ts';

const say = (line: string): boolean => process.stdout.write(`enclaim: ${line}\n`);
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

neverExit((reason) => `enclaim: refused: ${reason instanceof Error ? reason.message : reason}`);
mountBase();
restrictForGood();
say('guest: keeper');
loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
const platform = openTpmPlatform(await openAttester(await openTpmDevice()), readCommandLine());
const { keeper } = platform;
if (keeper === undefined) throw new Error('no keeper');
const early = await keeper.epoch().catch(codeOf);
const policy = new Uint8Array();
const digest = digestText('sha384', sha384(policy));
await platform.measure({ policy, policyDigest: digest, digest });

await using disk = await open((await awaitDisk('state')).path, 'r+');
const { buffer } = await disk.read(Buffer.alloc(4096), 0, 4096, 0);
const found = await keeper.epoch();
const kept = JSON.parse(buffer.toString('latin1').replaceAll('\0', '') || 'null');
const opened = kept === null ? null : await keeper.open(Buffer.from(kept.blob, 'base64')).catch(codeOf);
const isSame = opened instanceof Uint8Array ? Buffer.from(sha256(opened)).toString('hex') === kept.key : opened;

const key = randomBytes(32);
const blob = await keeper.seal(key, found + 1);
const note = { blob: Buffer.from(blob).toString('base64'), key: Buffer.from(sha256(key)).toString('hex') };
await disk.write(Buffer.from(JSON.stringify(note).padEnd(4096, '\0')), 0, 4096, 0);
await disk.sync();
const epoch = await keeper.advance();
const again = kept === null ? null : await keeper.open(Buffer.from(kept.blob, 'base64')).catch(codeOf);
process.stdout.write(`report:${JSON.stringify({ early, found, isSame, epoch, again, begun: keeper.begun() })}\n`);
say('serving');
