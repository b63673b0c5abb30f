import { fileURLToPath } from 'node:url'
import { type OutputChunk, type Plugin, rolldown } from 'rolldown'

/** A bundle for a browser: one ES module, from workspace sources. */
export interface Bundle {
  readonly code: string
  /** Minified bytes by module, before compression, largest first. */
  readonly modules: readonly { readonly id: string; readonly bytes: number }[]
}

/** What to bundle: a file, or source text that is resolved as if it lay in this folder. */
export type BundleEntry = { readonly file: string } | { readonly source: string }

/** Bundles the way an application's bundler does: browser conditions, tree shaking, minified. */
export async function bundleForBrowser(entry: BundleEntry): Promise<Bundle> {
  const build = await rolldown({
    input: 'file' in entry ? entry.file : VIRTUAL_ENTRY,
    plugins: 'source' in entry ? [virtualEntry(entry.source)] : [],
    platform: 'browser',
    resolve: { conditionNames: ['source', 'browser', 'import', 'default'] },
    logLevel: 'warn',
  })
  try {
    const { output } = await build.generate({ format: 'esm', minify: true, codeSplitting: false })
    const chunk = output.find((part): part is OutputChunk => part.type === 'chunk')
    if (!chunk) throw new Error('no code came out of the bundler')
    const modules = Object.entries(chunk.modules)
      .map(([id, module]) => ({ id, bytes: module.renderedLength }))
      .sort((a, b) => b.bytes - a.bytes)
    return { code: chunk.code, modules }
  } finally {
    await build.close()
  }
}

const VIRTUAL_ENTRY = fileURLToPath(new URL('./virtual-entry.js', import.meta.url))

function virtualEntry(source: string): Plugin {
  return {
    name: 'virtual-entry',
    resolveId: (id) => (id === VIRTUAL_ENTRY ? id : undefined),
    load: (id) => (id === VIRTUAL_ENTRY ? source : undefined),
  }
}
