import { type ESTree, parseSync, Visitor } from 'vite'

/** What the rules need to know of one TypeScript or JavaScript file. Paths are relative to the repository, with `/`. */
export interface SourceFile {
  readonly path: string
  readonly lineCount: number
  /** Every module named in an import, a re-export, a dynamic import or an `import('…')` type. */
  readonly imports: readonly Use[]
  /** Modules re-exported whole (`export * from`). */
  readonly wholeReExports: readonly Use[]
  /** Ambient time and randomness, as written: `Date.now`, `setTimeout`, `new Date`. */
  readonly ambient: readonly Use[]
  /** Globals probed with `typeof` to find out where the code runs. */
  readonly platformProbes: readonly Use[]
}

/** Something at a line (1-based). */
export interface Use {
  readonly name: string
  readonly line: number
}

const AMBIENT_FUNCTIONS = new Set(['setTimeout', 'setInterval', 'Date'])
const AMBIENT_METHODS = new Set([
  'Date.now',
  'Math.random',
  'performance.now',
  'crypto.getRandomValues',
  'crypto.randomUUID',
])
const PLATFORM_GLOBALS = new Set(['window', 'document', 'navigator', 'process', 'self'])

/** Parses a file; throws on a syntax error, because a file that cannot be read keeps no rule. */
export function parseSource(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text)
  if (errors[0] !== undefined) throw new Error(`${path}: ${errors[0].message}`)
  const imports: Use[] = []
  const wholeReExports: Use[] = []
  const ambient: Use[] = []
  const platformProbes: Use[] = []
  const at = (name: string, node: { start: number }): Use => ({ name, line: lineOf(text, node.start) })

  new Visitor({
    ImportDeclaration: (node) => void imports.push(at(node.source.value, node)),
    ExportNamedDeclaration: (node) => void (node.source && imports.push(at(node.source.value, node))),
    ExportAllDeclaration: (node) => {
      imports.push(at(node.source.value, node))
      wholeReExports.push(at(node.source.value, node))
    },
    ImportExpression: (node) => {
      if (node.source.type === 'Literal') imports.push(at(String(node.source.value), node))
    },
    TSImportType: (node) => void imports.push(at(node.source.value, node)),
    CallExpression: (node) => {
      const name = ambientName(node.callee)
      if (name !== undefined) ambient.push(at(name, node))
    },
    NewExpression: (node) => {
      if (isIdentifier(node.callee, 'Date') && node.arguments.length === 0) ambient.push(at('new Date', node))
    },
    UnaryExpression: (node) => {
      if (node.operator !== 'typeof' || node.argument.type !== 'Identifier') return
      if (PLATFORM_GLOBALS.has(node.argument.name)) platformProbes.push(at(`typeof ${node.argument.name}`, node))
    },
  }).visit(program)

  return { path, lineCount: text.trimEnd().split('\n').length, imports, wholeReExports, ambient, platformProbes }
}

/** `setTimeout` and `globalThis.setTimeout`, `Date.now` and `globalThis.Date.now`; undefined for anything else. */
function ambientName(callee: ESTree.Expression): string | undefined {
  const name = dottedName(callee)?.replace(/^(globalThis|window|self)\./, '')
  return name !== undefined && (AMBIENT_FUNCTIONS.has(name) || AMBIENT_METHODS.has(name)) ? name : undefined
}

function dottedName(node: ESTree.Expression | ESTree.Super): string | undefined {
  if (node.type === 'Identifier') return node.name
  if (node.type !== 'MemberExpression' || node.computed || node.property.type !== 'Identifier') return undefined
  const object = dottedName(node.object)
  return object === undefined ? undefined : `${object}.${node.property.name}`
}

function isIdentifier(node: ESTree.Expression, name: string): boolean {
  return node.type === 'Identifier' && node.name === name
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
