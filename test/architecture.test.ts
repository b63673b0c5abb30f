/**
 * Holds the architecture: who may import whom, where time and randomness come from, and how files look.
 * Each rule is run on every file, and on samples that break it, so that a rule that stopped seeing is noticed.
 */
import { describe, expect, test } from 'vitest'
import {
  boundedLength,
  noAmbientTimeOrRandomness,
  noDrawers,
  noPlatformProbes,
  noWholeReExports,
  staleExcuses,
} from './architecture/code-rules.ts'
import {
  confinement,
  declaredDependencies,
  layerDirection,
  linkIsPure,
  workspaceDirection,
} from './architecture/import-rules.ts'
import { listFiles, type Manifest, readManifest, readText } from './architecture/repository.ts'
import { parseSource, type SourceFile } from './architecture/source-file.ts'

const root = readManifest('')
const workspaces = root.workspaces ?? []
const manifests = new Map(workspaces.map((workspace) => [workspace, readManifest(workspace)]))
const folderOfPackage = new Map([...manifests].map(([workspace, manifest]) => [manifest.name, workspace]))
const rootWithWorkspaces: Manifest = {
  ...root,
  dependencies: Object.fromEntries([...folderOfPackage.keys()].map((name) => [name, '*'])),
}

const files = listFiles()
const sources = files.filter((path) => /\.(ts|mjs)$/.test(path)).map((path) => parseSource(path, readText(path)))

const manifestOf = (path: string): Manifest => manifests.get(path.split('/')[0] ?? '') ?? rootWithWorkspaces

interface Rule {
  readonly name: string
  readonly judge: (file: SourceFile) => string[]
  /** Path and text of files that break the rule, one violation each. */
  readonly broken: readonly (readonly [path: string, text: string])[]
  /** Files that look similar and keep it. */
  readonly kept: readonly (readonly [path: string, text: string])[]
}

const rules: readonly Rule[] = [
  {
    name: 'packages import each other only downwards and by name',
    judge: (file) => workspaceDirection(file, folderOfPackage),
    broken: [
      ['core/a.ts', "import { join } from '@mesh/client'"],
      ['client/a.ts', "import type { MeshServer } from '@mesh/server'"],
      ['server/a.ts', "export { join } from '@mesh/client'"],
      ['server/a.ts', "const client = await import('@mesh/client')"],
      ['core/a.ts', "type Swarm = import('@mesh/client').Swarm"],
      ['client/swarm/a.ts', "import { x } from '../../core/error.ts'"],
      ['test/e2e/a.ts', "import { Link } from '../../client/link/link.ts'"],
      ['cli/a.ts', "import { x } from '../test/setup/totals-reporter.ts'"],
      ['playground/a.ts', "import { x } from '@mesh/bench'"],
    ],
    kept: [
      ['client/a.ts', "import { MeshError } from '@mesh/core'"],
      ['test/e2e/a.ts', "import { findChromium } from '../../scripts/chromium.mjs'"],
      ['test/simulation/a.ts', "import { Link } from '../../client/link/link.ts'"],
      ['core/a.ts', "// import { join } from '@mesh/client'\nconst text = \"from '@mesh/client'\""],
    ],
  },
  {
    name: 'lower layers of a package do not know higher ones',
    judge: layerDirection,
    broken: [
      ['server/directory/a.ts', "import { x } from '../rpc/errors.ts'"],
      ['server/http/a.ts', "import { x } from '../server.ts'"],
      ['client/connection/a.ts', "import { Swarm } from '../swarm/swarm.ts'"],
      ['client/signal/a.ts', "import type { Peer } from '../connection/connections.ts'"],
      ['client/swarm/topology/a.ts', "import { x } from '../../node/platform.ts'"],
    ],
    kept: [
      ['server/rpc/a.ts', "import { x } from '../session/session.ts'"],
      ['client/swarm/a.ts', "import { x } from '../link/packer.ts'"],
    ],
  },
  {
    name: 'the link imports neither connections nor signaling',
    judge: linkIsPure,
    broken: [['client/link/channel/a.ts', "import { delay } from '../../delay.ts'"]],
    kept: [['client/link/channel/a.ts', "import { Packer } from '../packer.ts'"]],
  },
  {
    name: 'Connect, werift, Node and generated code stay in their rooms',
    judge: confinement,
    broken: [
      ['server/session/a.ts', "import { ConnectError } from '@connectrpc/connect'"],
      ['client/browser/a.ts', "import { createGrpcTransport } from '@connectrpc/connect-node'"],
      ['client/node/a.ts', "import { createConnectTransport } from '@connectrpc/connect-web'"],
      ['client/swarm/a.ts', "import { Code } from '@connectrpc/connect'"],
      ['client/connection/a.ts', "import { RTCPeerConnection } from 'werift'"],
      ['core/a.ts', "import { createHash } from 'node:crypto'"],
      ['client/identity/a.ts', "import { SignalSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'"],
      ['cli/a.ts', "import { TestPeer } from '@mesh/server/testing'"],
      ['cli/a.ts', "import { SignalSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'"],
    ],
    kept: [
      ['client/node/werift/a.ts', "import { RTCPeerConnection } from 'werift'"],
      ['core/a.test.ts', "import { readFileSync } from 'node:fs'"],
    ],
  },
  {
    name: 'what is imported is declared by the importing package',
    judge: (file) => declaredDependencies(file, manifestOf(file.path), root),
    broken: [
      ['core/a.ts', "import ws from 'ws'"],
      ['core/a.ts', "import crypto from 'hypercore-crypto'"],
      ['server/a.ts', "import { test } from 'vitest'"],
    ],
    kept: [
      ['core/a.test.ts', "import crypto from 'hypercore-crypto'\nimport { test } from 'vitest'"],
      ['core/a.ts', "import { blake2b } from '@noble/hashes/blake2.js'\nimport { readFile } from 'node:fs'"],
    ],
  },
  {
    name: 'time and randomness come from outside',
    judge: noAmbientTimeOrRandomness,
    broken: [
      ['core/a.ts', 'const now = Date.now()'],
      ['client/link/a.ts', 'setTimeout(() => {}, 1)'],
      ['client/swarm/a.ts', 'const now = globalThis.performance.now()'],
      ['server/session/a.ts', 'const now = new Date()'],
      ['server/router/a.ts', 'const id = Math.random()'],
      ['client/signal/a.ts', 'crypto.getRandomValues(new Uint8Array(16))'],
    ],
    kept: [
      ['client/node/a.ts', 'setTimeout(() => {}, 1)'],
      ['core/a.ts', 'const date = new Date(wallMs)\nclock.setTimeout()'],
    ],
  },
  {
    name: 'no code asks where it runs',
    judge: noPlatformProbes,
    broken: [['client/a.ts', "const browser = typeof window !== 'undefined'"]],
    kept: [['client/a.ts', "const given = typeof options.window === 'object'"]],
  },
  {
    name: 'no module re-exports another whole',
    judge: noWholeReExports,
    broken: [['core/index.ts', "export * from './error.ts'"]],
    kept: [['core/index.ts', "export { MeshError } from './error.ts'"]],
  },
  {
    name: 'no file is a drawer',
    judge: noDrawers,
    broken: [
      ['core/utils.ts', ''],
      ['server/session/types.ts', ''],
      ['client/helpers/array.ts', ''],
      ['client/swarm/util.ts', ''],
    ],
    kept: [['client/link/path-state.ts', '']],
  },
  {
    name: 'no file is longer than 300 lines without a reason',
    judge: boundedLength,
    broken: [['core/a.ts', 'let a\n'.repeat(301)]],
    kept: [['core/a.ts', 'let a\n'.repeat(300)]],
  },
]

describe.each(rules)('$name', ({ judge, broken, kept }) => {
  test('in every file', () => {
    expect(sources.flatMap((file) => judge(file))).toEqual([])
  })

  test.each(broken)('a sample in %s that breaks it is found', (path, text) => {
    expect(judge(parseSource(path, text))).toHaveLength(1)
  })

  test.each(kept)('a similar sample in %s is left alone', (path, text) => {
    expect(judge(parseSource(path, text))).toEqual([])
  })
})

test('every file that is excused for its length still needs the excuse', () => {
  expect(staleExcuses(sources)).toEqual([])
})

describe('files stand alone', () => {
  /** Words of how the work was organised: they mean nothing to a reader of the project. Split, so as not to match here. */
  const foreign = ['issue #', '/wo' + 'rk/', 'shared/' + 'design', '/tm' + 'p/team', 'TO' + 'DO', 'FIX' + 'ME']
  const mentions = (path: string, text: string): string[] =>
    text.split('\n').flatMap((line, index) => {
      const found = foreign.filter((word) => line.includes(word))
      return found.length === 0 ? [] : [`${path}:${index + 1} mentions ${found.join(', ')}`]
    })
  const isText = (path: string): boolean => /\.(ts|mjs|js|json|md|proto|yaml|html|css|sh)$|^\.ci\//.test(path)
  const written = files.filter(
    (path) => isText(path) && !/^test\/architecture\.test\.ts$|^package-lock\.json$/.test(path),
  )

  test('no file mentions how the work was organised', () => {
    expect(written.flatMap((path) => mentions(path, readText(path)))).toEqual([])
  })

  test('a mention is found', () => {
    expect(mentions('a.md', 'first\nsee issue #7')).toEqual(['a.md:2 mentions issue #'])
  })
})

describe('dependencies', () => {
  const declared = (manifest: Manifest): string[] => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = manifest
    return [dependencies, devDependencies, optionalDependencies, peerDependencies].flatMap((group) =>
      Object.keys(group ?? {}),
    )
  }
  const foreign = new Set(
    [root, ...manifests.values()].flatMap(declared).filter((name) => folderOfPackage.get(name) === undefined),
  )
  const described = new Set([...readText('docs/dependencies.md').matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1]))

  test('every dependency has its line in docs/dependencies.md', () => {
    expect([...foreign].filter((name) => !described.has(name))).toEqual([])
  })

  test('every line in docs/dependencies.md is about a dependency', () => {
    expect([...described].filter((name) => name === undefined || !foreign.has(name))).toEqual([])
  })

  test('every dependency of a package is pinned to one version', () => {
    const ranges = [root, ...manifests.values()].flatMap((manifest) =>
      Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
        .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${manifest.name}: ${name} ${version}`),
    )
    expect(ranges).toEqual([])
  })
})
