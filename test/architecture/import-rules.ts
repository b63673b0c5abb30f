/**
 * The direction of imports: between workspaces, inside the server and the client, and towards packages from outside.
 * Every rule takes one parsed file and returns what it does wrong, worded for the person who has to change it.
 */
import { posix } from 'node:path'
import type { Manifest } from './repository.ts'
import type { SourceFile, Use } from './source-file.ts'

/** Which workspaces a top-level folder may import. What is not listed as a value here is imported by nobody. */
const WORKSPACE_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  gen: [],
  core: ['gen'],
  server: ['gen', 'core'],
  client: ['gen', 'core'],
  cli: ['gen', 'core', 'server', 'client'],
  playground: ['gen', 'core', 'server', 'client'],
  bench: ['gen', 'core', 'server', 'client'],
  examples: ['gen', 'core', 'server', 'client'],
  test: ['gen', 'core', 'server', 'client'],
  scripts: [],
}

/** The browser's and test runner's set-up share the scripts' way of finding Chromium. */
const MAY_REACH_SCRIPTS = ['test/', 'bench/', 'playground/', 'vitest.config.ts']

/** Simulations and contract suites run machines that no package makes public, so they import them by path. */
const MAY_REACH_INSIDE = ['test/simulation/', 'test/contracts/']

/** Higher layers import lower ones and their own; folders that are not listed are free. */
const LAYERS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  server: {
    'server.ts': 3,
    'running-server.ts': 3,
    'domain.ts': 3,
    'federation.ts': 3,
    http: 2,
    rpc: 2,
    session: 1,
    directory: 1,
    router: 1,
    limits: 1,
    backplane: 1,
  },
  client: {
    browser: 4,
    node: 4,
    swarm: 3,
    connection: 2,
    link: 1,
    signal: 1,
    identity: 1,
  },
}

/** Lives beside its main user, and describes what the platform injects: known to every layer. */
const KNOWN_TO_ALL = ['client/connection/rtc.ts']

/** Packages and generated code that only some places may import, so that the rest stays free of them. */
const CONFINED: readonly { readonly what: RegExp; readonly in: readonly string[]; readonly to: readonly string[] }[] = [
  {
    what: /^@connectrpc\//,
    in: ['server/'],
    to: ['server/rpc/', 'server/http/', 'server/backplane/federation/', 'server/running-server.ts'],
  },
  { what: /^@connectrpc\/connect-node$/, in: ['client/'], to: ['client/node/'] },
  { what: /^@connectrpc\/connect-web$/, in: ['client/'], to: ['client/browser/'] },
  {
    what: /^@connectrpc\/connect$/,
    in: ['client/'],
    to: ['client/signal/', 'client/node/', 'client/browser/', 'client/testing/', 'client/platform.ts'],
  },
  { what: /^@connectrpc\//, in: ['core/', 'cli/', 'playground/', 'examples/'], to: [] },
  {
    what: /^werift(\/|$)/,
    in: ['core/', 'server/', 'client/', 'cli/', 'playground/', 'examples/'],
    to: ['client/node/werift/'],
  },
  { what: /^@mesh\/server\/testing$/, in: ['cli/', 'playground/', 'bench/', 'examples/'], to: [] },
  { what: /^node:/, in: ['core/', 'client/'], to: ['client/node/'] },
  {
    what: /^@mesh\/protocol\//,
    in: ['core/', 'server/', 'client/', 'cli/', 'playground/', 'examples/'],
    to: [
      'core/error.ts',
      'core/identity/',
      'core/link/',
      'core/membership/',
      'core/seal/',
      'server/backplane/',
      'server/directory/',
      'server/router/',
      'server/rpc/',
      'server/running-server.ts',
      'server/session/',
      'client/connection/',
      'client/link/',
      'client/signal/',
      'client/swarm/',
      'client/testing/',
      'cli/file/',
      'playground/file-transfer/',
    ],
  },
]

/** What makes a file a test or part of the test equipment: it may use development dependencies and Node. */
export function isTestCode(path: string): boolean {
  return (
    /\.test\.ts$|\.fixture\.ts$/.test(path) ||
    path.startsWith('test/') ||
    /^(core|server|client)\/([^/]+\/)*testing\//.test(path)
  )
}

/** Packages import each other only downwards, by name, and nothing imports a program or a test. */
export function workspaceDirection(file: SourceFile, folderOfPackage: ReadonlyMap<string, string>): string[] {
  const from = topFolder(file.path)
  const allowed = WORKSPACE_IMPORTS[from] ?? []
  return violations(file, file.imports, ({ name }) => {
    const target = name.startsWith('.') ? topFolder(resolve(file.path, name)) : folderOfPackage.get(packageName(name))
    if (target === undefined || target === from) return undefined
    if (name.startsWith('.') && target === 'scripts' && isUnder(file.path, MAY_REACH_SCRIPTS)) return undefined
    if (isUnder(file.path, MAY_REACH_INSIDE)) return undefined
    if (name.startsWith('.')) return `imports ${target}/ by path; packages are imported by name`
    return allowed.includes(target) ? undefined : `imports ${name}; ${from} may import ${list(allowed)}`
  })
}

/** Inside a package, a lower layer does not know a higher one. */
export function layerDirection(file: SourceFile): string[] {
  const [workspace = '', layer = ''] = file.path.split('/')
  const ranks = LAYERS[workspace]
  const own = ranks?.[layer]
  if (ranks === undefined || own === undefined || isTestCode(file.path)) return []
  return violations(file, file.imports, ({ name }) => {
    if (!name.startsWith('.')) return undefined
    const path = resolve(file.path, name)
    const [targetWorkspace, target = ''] = path.split('/')
    if (targetWorkspace !== workspace || target === layer || KNOWN_TO_ALL.includes(path)) return undefined
    const rank = ranks[target]
    return rank !== undefined && rank > own ? `imports ${workspace}/${target}, which is above ${layer}` : undefined
  })
}

/** The link is a state machine of its own: it knows no connection, no swarm and no signaling. */
export function linkIsPure(file: SourceFile): string[] {
  if (!file.path.startsWith('client/link/') || isTestCode(file.path)) return []
  const allowed = ['client/link/']
  return violations(file, file.imports, ({ name }) => {
    if (!name.startsWith('.') || isUnder(resolve(file.path, name), allowed)) return undefined
    return `imports ${name}; the link imports only itself, @mesh/core and the protocol`
  })
}

/** Packages with a room of their own, and generated code, stay where they belong. */
export function confinement(file: SourceFile): string[] {
  if (isTestCode(file.path)) return []
  return CONFINED.filter((rule) => isUnder(file.path, rule.in) && !isUnder(file.path, rule.to)).flatMap((rule) =>
    violations(file, file.imports, ({ name }) =>
      rule.what.test(name)
        ? `imports ${name}, which belongs to ${list(rule.to.filter((to) => topFolder(to) === topFolder(file.path)))}`
        : undefined,
    ),
  )
}

/** What a file imports is declared by its own package: a sibling's dependency is found only by accident of hoisting. */
export function declaredDependencies(file: SourceFile, own: Manifest, root: Manifest): string[] {
  const isTooling = isTestCode(file.path) || /^(scripts\/|vitest\.config)/.test(file.path)
  const declared = new Set([own.name, ...runtimeDependencies(own)])
  if (isTooling || isPrivateProgram(file.path))
    for (const name of Object.keys(own.devDependencies ?? {})) declared.add(name)
  if (isTooling) for (const name of Object.keys(root.devDependencies ?? {})) declared.add(name)
  return violations(file, file.imports, ({ name }) => {
    if (/^(\.|#|node:)/.test(name)) return undefined // its own files, its own names for them, and Node
    return declared.has(packageName(name))
      ? undefined
      : `imports ${packageName(name)}, which its package does not declare`
  })
}

function runtimeDependencies(manifest: Manifest): string[] {
  const { dependencies, optionalDependencies, peerDependencies } = manifest
  return [dependencies, optionalDependencies, peerDependencies].flatMap((group) => Object.keys(group ?? {}))
}

/** Never published, so there is no difference between its kinds of dependencies. */
function isPrivateProgram(path: string): boolean {
  return /^(bench|playground|examples)\//.test(path)
}

function violations(file: SourceFile, uses: readonly Use[], judge: (use: Use) => string | undefined): string[] {
  return uses.flatMap((use) => {
    const complaint = judge(use)
    return complaint === undefined ? [] : [`${file.path}:${use.line} ${complaint}`]
  })
}

function topFolder(path: string): string {
  return path.split('/')[0] ?? ''
}

function resolve(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier)
}

function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

function isUnder(path: string, places: readonly string[]): boolean {
  return places.some((place) => path.startsWith(place))
}

function list(items: readonly string[]): string {
  return items.length === 0 ? 'none' : items.join(', ')
}
