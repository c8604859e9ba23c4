/**
 * SARIF 2.1.0 (OASIS), the form in which code hosts show findings beside the lines they are about.
 */

import { posix } from 'node:path';
import type { Finding, Place } from './report.ts';

/** Meaning of each code. */
const RULES: Readonly<Record<Finding['code'], string>> = {
  size: 'The document is too large.',
  encoding: 'The document is not UTF-8.',
  syntax: 'The document is neither YAML nor JSON.',
  depth: 'The document is nested too deep or has too many parts.',
  yaml: 'YAML that another reader could take for something else.',
  duplicate: 'The same name stands twice.',
  unknown: 'A key that the grammar does not have.',
  missing: 'A key that the grammar demands is missing.',
  type: 'A value has another type than the grammar demands.',
  value: 'A value is not allowed here.',
  reference: 'A name that the policy does not declare.',
  conflict: 'Two parts of the policy contradict each other.',
  unbacked: 'Nothing in the policy backs a claim.',
  expired: 'A date has passed.',
  control: 'A control that no table knows.',
  cedar: 'Cedar text that does not parse or does not fit the policy.',
  canonical: 'The policy is not in canonical form.',
  descriptor: 'The .proto files do not compile.',
  handling: 'Handling options that cannot be used.',
  demand: 'Not a demand.',
  limit: 'There are more findings than are listed.',
  'no-rule': 'A method that the policy does not mention; it is not exposed.',
  undeclared: 'A method that declares no handling.',
  uncategorised: 'A field of which nothing says what it carries.',
  vocabulary: 'A data category that the policy does not have.',
  purpose: 'A method for another purpose than the policy permits.',
  callers: 'A method for callers that the policy does not permit.',
  accepts: 'A request that carries more than the policy permits.',
  returns: 'A response that carries more than the policy permits.',
  reads: 'A method that reads more than the policy permits.',
  stores: 'A method that stores where the policy does not permit it.',
  sends: 'A method that sends where the policy does not permit it.',
  interface: 'Messages that are not those that the policy pins.',
  declassify: 'A release that cannot be built from the method it belongs to.',
  runtime: 'Something that the runtime does not hold: it refuses the policy at boot.',
  silenced: 'A method that may read what it may not return, so that its answers are refused.',
  subprocessor: 'A service of a subprocessor that cannot be called as it is declared.',
};

/**
 * A SARIF log of one run. Paths are relative to the top of the repository, as code hosts take them.
 * @param top where the folder that the command ran in lies in it, with a slash at the end
 */
export function sarifLog(findings: readonly Finding[], version: string, top = ''): object {
  const used = [...new Set(findings.map(({ code }) => code))].sort();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        columnKind: 'utf16CodeUnits',
        tool: {
          driver: {
            name: 'enclaim',
            version,
            rules: used.map((id) => ({ id, shortDescription: { text: RULES[id] } })),
          },
        },
        results: findings.map(({ code, level, message, at, policy }) => ({
          ruleId: code,
          ruleIndex: used.indexOf(code),
          level,
          message: { text: message },
          locations: [location(at, top)],
          ...(policy
            ? { relatedLocations: [{ id: 0, message: { text: 'the policy' }, ...location(policy, top) }] }
            : {}),
        })),
      },
    ],
  };
}

function location({ file, line, column }: Place, top: string): object {
  const region =
    line === undefined ? {} : { region: { startLine: line, ...(column === undefined ? {} : { startColumn: column }) } };
  return { physicalLocation: { artifactLocation: { uri: uriOf(posix.join(top, file)) }, ...region } };
}

function uriOf(file: string): string {
  return file.split('/').map(encodeURIComponent).join('/');
}
