import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Builds the page with Vite, once per content: the result lies in node_modules/.cache under a hash of every file that
 * goes into it, so that a second start only reads it.
 */
const repository = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(repository, 'node_modules', '.cache', 'mesh-playground')

/** What the page is made of, besides locked packages. */
const SOURCES = ['playground', 'client', 'core', 'gen', 'package-lock.json']
const NOT_SOURCES = /(^|\/)(node_modules|dist|testing|host|resident)(\/|$)|\.test\.ts$/
/** Builds of other contents (branches one switches between) that are kept. */
const KEPT_BUILDS = 4

/** Folder of the built page; builds it first when its sources have changed. Rejects with Vite's error. */
export async function buildPage(): Promise<{ readonly folder: string; readonly cached: boolean }> {
  const folder = join(CACHE, await contentHash())
  if (await isFolder(folder)) return { folder, cached: true }
  const draft = `${folder}.${randomBytes(6).toString('hex')}`
  await runVite(draft)
  try {
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Another start was faster with the same content.
    if (!(await isFolder(folder))) throw error
  }
  await removeOldBuilds()
  return { folder, cached: false }
}

async function runVite(outDir: string): Promise<void> {
  // Loaded only when needed: it takes longer than everything else a cached start does.
  const { build } = await import('vite')
  await build({
    configFile: false,
    root: fileURLToPath(new URL('../page', import.meta.url)),
    logLevel: 'silent',
    clearScreen: false,
    publicDir: false,
    cacheDir: join(CACHE, 'vite'),
    define: { 'process.env.NODE_ENV': '"production"' },
    resolve: { conditions: ['source', 'browser', 'module', 'production'] },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2024',
      // The content security policy allows no data: URLs and no inline scripts.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  })
}

async function contentHash(): Promise<string> {
  const hash = createHash('sha256')
  const files = (await Promise.all(SOURCES.map((source) => listFiles(join(repository, source))))).flat().sort()
  const contents = await Promise.all(files.map((file) => readFile(file)))
  for (const [index, file] of files.entries()) {
    const content = contents[index] as Buffer
    hash.update(`${relative(repository, file)}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex').slice(0, 32)
}

async function listFiles(path: string): Promise<string[]> {
  if (NOT_SOURCES.test(relative(repository, path))) return []
  if (!(await stat(path)).isDirectory()) return [path]
  const names = await readdir(path)
  return (await Promise.all(names.map((name) => listFiles(join(path, name))))).flat()
}

async function removeOldBuilds(): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const folders = (await readdir(CACHE)).filter((name) => name !== 'vite').map((name) => join(CACHE, name))
  const dated = await Promise.all(folders.map(async (folder) => ({ folder, at: (await stat(folder)).mtimeMs })))
  const old = dated.sort((a, b) => b.at - a.at).slice(KEPT_BUILDS)
  await Promise.all(old.map(({ folder }) => rm(folder, { recursive: true, force: true })))
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}
