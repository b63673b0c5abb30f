import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, platform, release, totalmem } from 'node:os'

/** What the numbers of a run depend on. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
  readonly packages: Readonly<Record<string, string>>
}

const COMPARED = ['ws', 'peer', 'werift', '@connectrpc/connect', '@bufbuild/protobuf', 'rolldown', 'playwright-core']

export function describeMachine(): Machine {
  const processors = cpus()
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${arch()} ${release()}`,
    node: process.versions.node,
    packages: Object.fromEntries(COMPARED.map((name) => [name, installedVersion(name)])),
  }
}

/** Reads package.json beside the resolved entry: `exports` may hide it from `require`. */
function installedVersion(name: string): string {
  const paths = createRequire(import.meta.url).resolve.paths(name) ?? []
  for (const path of paths) {
    try {
      return (JSON.parse(readFileSync(`${path}/${name}/package.json`, 'utf8')) as { version: string }).version
    } catch {
      // Not in this folder: look further up.
    }
  }
  return 'not installed'
}
