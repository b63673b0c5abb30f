/**
 * `npm run test:pack`: what a user gets. Builds and packs every published package, installs the tarballs into an
 * empty project, and there imports each entry, typechecks against the declarations, and runs the command line.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, PUBLISHED_PACKAGES } from './build.mjs'
import { runNpm } from './install.mjs'
import { runQuietly } from './process.mjs'

/** A program that uses the main entries the way an application does; it exits by itself only if nothing starts on import. */
const APPLICATION = `
import { DEFAULT_LIMITS, MeshError } from '@mesh/core'
import { createServer } from '@mesh/server'
import { createClient, join } from '@mesh/client'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

const values: unknown[] = [DEFAULT_LIMITS.maxMessageBytes, MeshError, createServer, createClient, join, SignalService.typeName]
if (values.includes(undefined)) throw new Error('an export is missing')
console.log('imported')
`

/** What a page imports; typechecked as a bundler sees it, without any of Node's types. */
const PAGE = `
import { type Channel, join, type Peer, type Swarm } from '@mesh/client'

export const open = async (swarm: Swarm, peer: Peer): Promise<Channel> => (swarm.peers.size === 0 ? await open(await join('mesh://localhost:4600/a'), peer) : await peer.open('a'))
`

const COMMON_OPTIONS = {
  target: 'ES2023',
  lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
  strict: true,
}

/** Two projects: an application in Node and a page. Declarations are checked too (no `skipLibCheck`). */
const TSCONFIGS = {
  'tsconfig.application.json': {
    compilerOptions: { ...COMMON_OPTIONS, module: 'NodeNext', types: ['node'], outDir: 'out' },
    files: ['application.ts'],
  },
  'tsconfig.page.json': {
    compilerOptions: {
      ...COMMON_OPTIONS,
      module: 'ESNext',
      moduleResolution: 'Bundler',
      customConditions: ['browser'],
      types: [],
      noEmit: true,
    },
    files: ['page.ts'],
  },
}

/** @param {import('./verbs.mjs').VerbContext} context */
export async function testPack({ root, node }) {
  if ((await build({ root })) !== 0) return 1
  const folder = mkdtempSync(join(tmpdir(), 'mesh-pack-'))
  try {
    const tarballs = await pack(root, folder)
    const project = createProject(root, folder)
    const npmArgs = ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    await expectSuccess('install', runNpm([...npmArgs, ...tarballs, nodeTypes(root)], project))
    for (const name of Object.keys(TSCONFIGS)) {
      await expectSuccess(name, runQuietly('tsc', ['-p', name], { cwd: project }))
    }
    await expectSuccess('import', runQuietly(node.path, ['out/application.js'], { cwd: project }))
    const cli = join('node_modules', '.bin', 'mesh')
    await expectSuccess('mesh --help', runQuietly(node.path, [cli, '--help'], { cwd: project }))
    return 0
  } catch (error) {
    console.log(error instanceof Error ? error.message : error)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * @param {string} root
 * @param {string} folder
 */
async function pack(root, folder) {
  const workspaces = PUBLISHED_PACKAGES.flatMap((name) => ['--workspace', name])
  const args = ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder, ...workspaces]
  await expectSuccess('pack', runNpm(args, root))
  return readdirSync(folder).map((name) => join(folder, name))
}

/**
 * The server's declarations speak of Node, whose types an application brings itself.
 *
 * @param {string} root
 */
function nodeTypes(root) {
  return `@types/node@${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies['@types/node']}`
}

/**
 * A program that imports every entry that the packages publish, and is told when one exports nothing.
 *
 * @param {string} root
 */
function importEverything(root) {
  const entries = PUBLISHED_PACKAGES.flatMap((folder) => {
    const { name, exports = {} } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const published = Object.keys(exports).filter((key) => exports[key].default !== undefined && !key.includes('*'))
    return published.map((key) => name + key.slice(1))
  })
  return entries
    .map((entry) => `if (Object.keys(await import('${entry}')).length === 0) throw new Error('${entry} is empty')`)
    .join('\n')
}

/**
 * @param {string} root
 * @param {string} folder
 */
function createProject(root, folder) {
  const project = join(folder, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  for (const [name, config] of Object.entries(TSCONFIGS)) writeFileSync(join(project, name), JSON.stringify(config))
  writeFileSync(join(project, 'application.ts'), `${APPLICATION}${importEverything(root)}\n`)
  writeFileSync(join(project, 'page.ts'), PAGE)
  return project
}

/**
 * @param {string} name
 * @param {Promise<{ code: number, output: string }>} running
 */
async function expectSuccess(name, running) {
  const { code, output } = await running
  console.log(`${code === 0 ? '✓' : '✗'} ${name}`)
  if (code !== 0) throw new Error(output.trimEnd())
}
