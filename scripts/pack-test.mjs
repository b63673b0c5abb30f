/**
 * `npm run test:pack`: what a user gets. Builds and packs every published package, installs the tarballs into an
 * empty project, and there imports each entry, typechecks against the declarations, and runs the command line.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, PUBLISHED_PACKAGES } from './build.mjs'
import { runNpm } from './install.mjs'
import { runQuietly } from './process.mjs'

/** A program that uses every entry the way an application does; it exits by itself only if nothing starts on import. */
const APPLICATION = `
import { DEFAULT_LIMITS, MeshError } from '@mesh/core'
import { createServer } from '@mesh/server'
import { createClient, join } from '@mesh/client'
import * as testing from '@mesh/client/testing'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

const values: unknown[] = [DEFAULT_LIMITS.maxMessageBytes, MeshError, createServer, createClient, join, SignalService.typeName]
if (values.includes(undefined) || Object.keys(testing).length === 0) throw new Error('an export is missing')
console.log('imported')
`

const TSCONFIG = {
  compilerOptions: {
    target: 'ES2023',
    lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
    module: 'NodeNext',
    types: [],
    strict: true,
    outDir: 'out',
  },
  files: ['application.ts'],
}

/** @param {import('./verbs.mjs').VerbContext} context */
export async function testPack({ root, node }) {
  if ((await build({ root })) !== 0) return 1
  const folder = mkdtempSync(join(tmpdir(), 'mesh-pack-'))
  try {
    const tarballs = await pack(root, folder)
    const project = createProject(folder)
    const npmArgs = ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    await expectSuccess('install', runNpm([...npmArgs, ...tarballs], project))
    await expectSuccess('typecheck', runQuietly('tsc', ['-p', '.'], { cwd: project }))
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

/** @param {string} folder */
function createProject(folder) {
  const project = join(folder, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  writeFileSync(join(project, 'application.ts'), APPLICATION)
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
