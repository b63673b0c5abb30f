import type { VerifiedRecord } from '@mesh/core'
import { outlasts } from './record-order.ts'
import type { TopicHandle } from './topic-handle.ts'

/**
 * What the directory says of a peer in a topic: it is there; it fell silent without a word and may come back (its lease ran out,
 * its server is gone); or it is gone.
 */
export type Listing = 'listed' | 'silent' | 'gone'

/** What one swarm wants of one peer. */
export interface Want {
  readonly handle: TopicHandle
  readonly record: VerifiedRecord
  readonly listing: Listing
}

/** The swarms that want a link to one peer. */
export class Wants {
  readonly #wants = new Map<string, Want>()

  get size(): number {
    return this.#wants.size
  }

  [Symbol.iterator](): IterableIterator<Want> {
    return this.#wants.values()
  }

  /** The first topic the peer is listed in and this side can be reached under: what to call or relay in. */
  listed(): Want | undefined {
    for (const want of this.#wants.values()) if (want.listing === 'listed' && want.handle.self()) return want
    return undefined
  }

  /** Whether the peer is in some topic, or may come back to one. */
  get hopeful(): boolean {
    return [...this.#wants.values()].some(({ listing }) => listing !== 'gone')
  }

  get(handle: TopicHandle): Want | undefined {
    return this.#wants.get(handle.name)
  }

  /** The peer is wanted, and reachable by this record; one of a later process, or a later one of the session, stays. */
  set(handle: TopicHandle, record: VerifiedRecord): void {
    const known = this.#wants.get(handle.name)?.record
    const chosen = known && outlasts(known.record, record.record) ? known : record
    this.#wants.set(handle.name, { handle, record: chosen, listing: 'listed' })
  }

  /** False when the peer is not wanted in that topic. */
  unlist(handle: TopicHandle, listing: Exclude<Listing, 'listed'>): boolean {
    const want = this.#wants.get(handle.name)
    if (want) this.#wants.set(handle.name, { ...want, listing })
    return want !== undefined
  }

  delete(handle: TopicHandle): boolean {
    return this.#wants.delete(handle.name)
  }

  clear(): void {
    this.#wants.clear()
  }
}
