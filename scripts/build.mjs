/** `npm run build`: JavaScript and declarations of every package that is published, into its dist folder. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runQuietly } from './process.mjs'

/** In the order in which they depend on each other: each is compiled against the declarations of those before it. */
export const PUBLISHED_PACKAGES = ['gen', 'core', 'server', 'client', 'cli']

/**
 * Removes the old outputs first: a file deleted from the sources would otherwise be published for ever.
 *
 * @param {{ root: string }} context
 */
export async function build({ root }) {
  for (const name of PUBLISHED_PACKAGES) rmSync(join(root, name, 'dist'), { recursive: true, force: true })
  for (const name of PUBLISHED_PACKAGES) {
    const { code, output } = await runQuietly('tsc', ['-p', join(name, 'tsconfig.build.json')], { cwd: root })
    console.log(`${code === 0 ? '✓' : '✗'} ${name}`)
    if (code !== 0) {
      console.log(output.trimEnd())
      return 1
    }
  }
  return 0
}
