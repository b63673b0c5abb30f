/**
 * Installs the locked dependencies when they are missing or stale.
 *
 * 1. A stamp inside node_modules holds a hash of everything that decides what is installed: the lock file, what every
 *    package.json says about dependencies, and the platform. When it matches, nothing is done.
 * 2. Otherwise one process takes the lock (others wait for it and then look at the stamp again), removes the stamp,
 *    runs npm, and writes the new stamp. An interrupted installation leaves no stamp, so the next run repeats it.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withFileLock } from './file-lock.mjs'
import { runQuietly } from './process.mjs'

/**
 * `install` and not `ci`: some registry mirrors lack the optional binaries of other systems, which `ci` insists on.
 * `--no-save` leaves package-lock.json as it is. Install scripts are not needed by any dependency.
 */
const NPM_ARGS = [
  'install',
  '--no-save',
  '--ignore-scripts',
  '--prefer-offline',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
]

/**
 * Makes node_modules match the lock file; throws with npm's own words when that fails.
 *
 * @param {string} root the repository
 */
export async function ensureInstalled(root) {
  const modules = join(root, 'node_modules')
  const stamp = join(modules, '.mesh-installed')
  const expected = fingerprint(root)
  if (isFresh(stamp, expected)) return
  mkdirSync(modules, { recursive: true })
  await withFileLock(join(modules, '.mesh-installing'), async () => {
    if (isFresh(stamp, expected)) return
    console.error(existsSync(stamp) ? 'Updating the dependencies …' : 'Installing the dependencies …')
    rmSync(stamp, { force: true })
    const { code, output } = await runNpm(NPM_ARGS, root)
    if (code !== 0) throw new Error(`npm ${NPM_ARGS.join(' ')} failed (exit code ${code}):\n${output.trimEnd()}`)
    writeFileSync(stamp, expected)
  })
}

/**
 * Runs npm: the one that started this script when there is one, else the one on PATH.
 *
 * @param {string[]} args
 * @param {string} cwd
 */
export function runNpm(args, cwd) {
  const cli = process.env.npm_execpath
  return cli?.endsWith('npm-cli.js') && existsSync(cli)
    ? runQuietly(process.execPath, [cli, ...args], { cwd })
    : runQuietly('npm', args, { cwd })
}

/** What npm reads in a package.json when it installs; a changed script or description installs nothing. */
const INSTALLED_FIELDS = [
  'name',
  'version',
  'bin',
  'workspaces',
  'dependencies',
  'devDependencies',
  'optionalDependencies',
  'peerDependencies',
  'overrides',
]

/** @param {string} root */
function fingerprint(root) {
  const manifest = readManifest(root)
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`)
  hash.update(readFileSync(join(root, 'package-lock.json')))
  for (const each of [manifest, ...manifest.workspaces.map((folder) => readManifest(join(root, folder)))]) {
    hash.update(JSON.stringify(INSTALLED_FIELDS.map((field) => each[field] ?? null)))
  }
  return `${hash.digest('hex')}\n`
}

/**
 * @param {string} folder
 * @returns {{ workspaces: string[], [field: string]: unknown }}
 */
function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

/**
 * @param {string} stamp
 * @param {string} expected
 */
function isFresh(stamp, expected) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === expected
}
