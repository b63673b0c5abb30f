/** What `npm start`, `npm test` and the other scripts do once dependencies and Node are there. */
import { join } from 'node:path'
import { build } from './build.mjs'
import { check } from './check.mjs'
import { testFederation, testLinks } from './network-lanes.mjs'
import { testPack } from './pack-test.mjs'
import { runInForeground } from './process.mjs'
import { test } from './test.mjs'

/**
 * @typedef {object} VerbContext
 * @property {string} root the repository
 * @property {import('./node-binary.mjs').NodeBinary} node
 * @property {string[]} args what followed the verb
 */

/** @type {ReadonlyMap<string, (context: VerbContext) => Promise<number>>} each resolves to an exit code */
export const verbs = new Map([
  ['start', source('playground/start.ts')],
  // People name files relative to where they are; npm has moved to the root and says where that was.
  ['mesh', source('cli/main.ts', () => process.env.INIT_CWD)],
  ['bench', source('bench/main.ts')],
  ['test', test],
  ['check', check],
  ['build', build],
  ['test:pack', testPack],
  ['test:long', testLong],
  ['sim', source('test/simulation/seeds/main.ts')],
  ['sim:mutations', source('test/simulation/seeds/mutations-main.ts')],
  ['test:federation', testFederation],
  ['test:links', testLinks],
  ['generate', tool('buf', ['generate'])],
  ['format', formatAll],
])

/**
 * @param {string} file a program of this repository
 * @param {() => string | undefined} [workingFolder] the root when absent
 */
function source(file, workingFolder) {
  return (/** @type {VerbContext} */ { root, node, args }) =>
    runInForeground(node.path, [...node.flags, '-C', 'source', join(root, file), ...args], {
      cwd: workingFolder?.() ?? root,
    })
}

/**
 * @param {string} command
 * @param {string[]} first
 */
function tool(command, first) {
  return (/** @type {VerbContext} */ { root, args }) => runInForeground(command, [...first, ...args], { cwd: root })
}

/** @param {VerbContext} context */
async function formatAll({ root }) {
  const biome = await runInForeground('biome', ['check', '--write', '.'], { cwd: root })
  const buf = await runInForeground('buf', ['format', '--write'], { cwd: root })
  return biome || buf
}

/**
 * The runs that are cut short in `npm test`: ten times the seeds of the link's simulation, and a minute of hostile datagrams.
 *
 * @param {VerbContext} context
 */
async function testLong({ root }) {
  process.env.MESH_SIM_RUNS ??= '20000'
  process.env.MESH_WERIFT_FUZZ_MS ??= '60000'
  const files = ['test/simulation/link/link-simulation', 'client/node/werift/attack-udp']
  return await runInForeground('vitest', ['run', '--project', 'unit', ...files], { cwd: root })
}
