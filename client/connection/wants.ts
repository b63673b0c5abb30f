import { equalBytes, type VerifiedRecord } from '@mesh/core'
import { sameProcess } from '../signal/session-order.ts'
import type { TopicHandle } from './topic-handle.ts'

/** What one swarm wants of one peer. */
export interface Want {
  readonly handle: TopicHandle
  readonly record: VerifiedRecord
  /** The directory lists the peer in this topic. */
  readonly listed: boolean
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
    for (const want of this.#wants.values()) if (want.listed && want.handle.self()) return want
    return undefined
  }

  get(handle: TopicHandle): Want | undefined {
    return this.#wants.get(handle.name)
  }

  /** The peer is wanted, and reachable by this record; one of a later process, or a later one of the session, stays. */
  set(handle: TopicHandle, record: VerifiedRecord): void {
    const known = this.#wants.get(handle.name)?.record
    const chosen = known && isEarlier(record, known) ? known : record
    this.#wants.set(handle.name, { handle, record: chosen, listed: true })
  }

  /** False when the peer is not wanted in that topic. */
  unlist(handle: TopicHandle): boolean {
    const want = this.#wants.get(handle.name)
    if (want) this.#wants.set(handle.name, { ...want, listed: false })
    return want !== undefined
  }

  delete(handle: TopicHandle): boolean {
    return this.#wants.delete(handle.name)
  }

  clear(): void {
    this.#wants.clear()
  }
}

/** Under which of its sessions a process is reached is for the directory, and for the peer itself, to say. */
function isEarlier({ record: next }: VerifiedRecord, { record: known }: VerifiedRecord): boolean {
  if (!sameProcess(next.sessionOrder, known.sessionOrder)) return next.sessionOrder < known.sessionOrder
  return equalBytes(next.sessionId, known.sessionId) && next.seq < known.seq
}
