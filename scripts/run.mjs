/**
 * The one entry of every npm script. It needs nothing but Node 20: dependencies and a newer Node come from here.
 *
 * 1. Install the locked dependencies when they are missing or stale.
 * 2. Find the Node that runs the sources.
 * 3. Run the verb with that Node and the installed tools first on PATH; its exit code is ours.
 */
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureInstalled } from './install.mjs'
import { findNode } from './node-binary.mjs'
import { verbs } from './verbs.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [name = '', ...args] = process.argv.slice(2)

try {
  const verb = verbs.get(name)
  if (verb === undefined) throw new Error(`Unknown verb "${name}". There are: ${[...verbs.keys()].join(', ')}`)
  await ensureInstalled(root)
  const node = findNode(root)
  const path = [dirname(node.path), join(root, 'node_modules', '.bin'), process.env.PATH ?? '']
  process.env.PATH = path.join(delimiter)
  process.exitCode = await verb({ root, node, args })
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
