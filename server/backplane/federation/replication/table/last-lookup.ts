import { NONE } from './hash-index.ts'

const NO_KEY: Uint8Array = new Uint8Array()

/** What was looked up last: the row that is inserted next is mostly that one, and need not be hashed again. */
export class LastLookup {
  #topic = NO_KEY
  #peer = NO_KEY
  /** Number of the topic. */
  number = NONE
  /** Hash of the peer in the topic. */
  hash = 0

  set(topic: Uint8Array, peer: Uint8Array, number: number, hash: number): void {
    this.#topic = topic
    this.#peer = peer
    this.number = number
    this.hash = hash
  }

  /** Whether it was this, and the topic has a number: the very arrays, so that nobody compares bytes. */
  found(topic: Uint8Array, peer: Uint8Array): boolean {
    return this.number !== NONE && this.#topic === topic && this.#peer === peer
  }

  /** Numbers of topics are about to be free for others. */
  clear(): void {
    this.set(NO_KEY, NO_KEY, NONE, 0)
  }
}
