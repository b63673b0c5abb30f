import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'

/** One mistake somebody could make, as a change to a source file. */
export interface SourceMutation {
  /** What the mistake does, in words. */
  readonly name: string
  /** Path of the file, from the root of the repository. */
  readonly file: string
  /** Stands in the file exactly once; `to` is put in its place. */
  readonly from: string
  readonly to: string
  /** Seeds, from the first on, within which the simulation has to notice. */
  readonly within: number
}

/**
 * Makes the mistake in every module that this thread loads from now on.
 * @throws Error, when the file is loaded, unless `from` stands in it exactly once: a mutation must not silently change nothing.
 */
export function mutateSources({ file, from, to }: SourceMutation, root: URL): { readonly applied: () => boolean } {
  const target = new URL(file, root).href
  let applied = false
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      if (url !== target) return loaded
      const source = String(loaded.source)
      const found = source.split(from).length - 1
      if (found !== 1) throw new Error(`${file} has the text of the mutation ${found} times, not once:\n${from}`)
      applied = true
      return { ...loaded, source: source.replace(from, () => to) }
    },
  })
  return { applied: () => applied }
}

/** The root of the repository. */
export const ROOT = pathToFileURL(`${import.meta.dirname}/../../../`)
