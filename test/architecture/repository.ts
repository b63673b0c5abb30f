import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '..', '..')

/** Folders that are installed, generated or left behind by a run: nobody writes them. */
const NOT_WRITTEN = new Set(['node_modules', 'dist', '.git', '.mesh', '.artifacts', 'results', '.vite'])
const GENERATED = /^gen\/(?!package\.json|tsconfig)/

/** Paths of all files that people write, relative to the repository, sorted. */
export function listFiles(folder = ''): string[] {
  const files: string[] = []
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory() && !NOT_WRITTEN.has(entry.name)) files.push(...listFiles(path))
    else if (entry.isFile() && !GENERATED.test(path)) files.push(path)
  }
  return files.sort()
}

/** The text of a file of the repository. */
export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** The fields of a package.json that the rules look at. */
export interface Manifest {
  readonly name: string
  readonly workspaces?: readonly string[]
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** The manifest of a workspace, or of the repository for `''`. */
export function readManifest(workspace: string): Manifest {
  return JSON.parse(readText(workspace === '' ? 'package.json' : `${workspace}/package.json`)) as Manifest
}
