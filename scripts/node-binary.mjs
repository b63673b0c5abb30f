/** Which Node runs the sources: the Node 24 among the dependencies, else the installed one if it is new enough. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** The oldest Node that the packages support (`engines` of the published packages). */
const OLDEST_NODE = [22, 12]

/** From here on Node runs TypeScript without being asked to. */
const TYPES_STRIPPED_BY_DEFAULT = [22, 18]

/**
 * @typedef {object} NodeBinary
 * @property {string} path
 * @property {string[]} flags what this version needs in order to run TypeScript
 */

/**
 * Returns the Node to run sources with; throws with what to do when there is none.
 *
 * @param {string} root the repository
 * @param {{ path: string, version: string }} [installed] the Node that runs this script
 * @returns {NodeBinary}
 */
export function findNode(root, installed = { path: process.execPath, version: process.versions.node }) {
  const bundled = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  // Asking for the version also finds out whether the binary runs here at all: it does not on musl.
  const answer = spawnSync(bundled, ['--version'], { encoding: 'utf8' })
  if (answer.status === 0) return { path: bundled, flags: flagsFor(answer.stdout.trim().slice(1)) }
  if (isAtLeast(installed.version, OLDEST_NODE)) return { path: installed.path, flags: flagsFor(installed.version) }
  throw new Error(
    `MESH needs Node ${OLDEST_NODE.join('.')} or newer. This is Node ${installed.version}, and the dependencies bring ` +
      `no Node that runs on ${process.platform}-${process.arch}.\nInstall Node 24 from https://nodejs.org and run the command again.`,
  )
}

/** @param {string} version */
function flagsFor(version) {
  return isAtLeast(version, TYPES_STRIPPED_BY_DEFAULT) ? [] : ['--experimental-strip-types', '--no-warnings']
}

/**
 * @param {string} version such as 22.12.0
 * @param {number[]} least major and minor
 */
function isAtLeast(version, [leastMajor = 0, leastMinor = 0]) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}
