/** A guest that only answers "hello": the floor that a boot is measured against, and something that serves in tests. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import {
  configureNetwork,
  loadModules,
  mountBase,
  neverExit,
  readCommandLine,
  restrictForGood,
} from '../../guest/src/linux/index.ts';

const say = (line: string): boolean => process.stdout.write(`enclaim: ${line}\n`);

neverExit((reason) => `enclaim: refused: ${reason instanceof Error ? reason.message : reason}`);
mountBase();
restrictForGood();
say('guest: hello');
loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
await configureNetwork(readCommandLine().network);
createServer((_, response) => response.end('hello')).listen(50051, () => say('serving'));
