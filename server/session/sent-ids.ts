import type { ByteKey } from '../byte-key.ts'
import { IdWindow } from './id-window.ts'

interface Remembered {
  readonly window: IdWindow
  /** Its size when it was last counted. */
  counted: number
}

/** 262,144 ids are 131 s of one other server at its full rate of 2,000 a second, and about 12 MB. */
const MAX_REMEMBERED_IDS = 262_144

/**
 * The ids of peers that have no session here: of those that had one, and of those whose envelopes other servers send. A
 * peer that comes back, or moves here, and repeats what it is unsure of is recognised by them. Bounded by the number of ids
 * in all; the window that was asked for longest ago gives way.
 */
export class SentIds {
  readonly #windowSize: number
  readonly #maxIds: number
  /** Longest unused first. */
  readonly #windows = new Map<ByteKey, Remembered>()
  #count = 0
  /** Whose window was asked for last: its ids are counted when another one's is. */
  #last: { readonly peer: ByteKey; readonly window: IdWindow } | undefined

  constructor(windowSize: number, maxIds = MAX_REMEMBERED_IDS) {
    this.#windowSize = windowSize
    this.#maxIds = maxIds
  }

  /** Ids remembered, as last counted. */
  get count(): number {
    return this.#count
  }

  /** The window of a peer, a new one when there is none. What one peer sends often comes together: it is counted when it ends. */
  of(peer: ByteKey): IdWindow {
    if (this.#last?.peer === peer) return this.#last.window
    const window = this.take(peer)
    this.keep(peer, window)
    this.#last = { peer, window }
    return window
  }

  /** Takes a peer's window out, for a session of its own; a new one when there is none. */
  take(peer: ByteKey): IdWindow {
    this.#countLast()
    const known = this.#windows.get(peer)
    if (known === undefined) return new IdWindow(this.#windowSize)
    this.#windows.delete(peer)
    this.#count -= known.counted
    return known.window
  }

  /** Remembers the window of a peer. */
  keep(peer: ByteKey, window: IdWindow): void {
    this.#countLast()
    const counted = weightOf(window)
    this.#windows.set(peer, { window, counted })
    this.#count += counted
    for (const [oldest, { counted }] of this.#windows) {
      if (this.#count <= this.#maxIds || oldest === peer) return
      this.#windows.delete(oldest)
      this.#count -= counted
    }
  }

  #countLast(): void {
    const last = this.#last && this.#windows.get(this.#last.peer)
    this.#last = undefined
    if (last === undefined) return
    const counted = weightOf(last.window)
    this.#count += counted - last.counted
    last.counted = counted
  }
}

/** An empty window counts too: otherwise peers that sent nothing would be remembered without a bound. */
function weightOf(window: IdWindow): number {
  return window.size + 1
}
