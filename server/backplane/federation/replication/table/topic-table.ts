import type { ByteKey } from '../../../../byte-key.ts'
import { HashIndex, NONE } from './hash-index.ts'
import type { KeyedHash } from './keyed-hash.ts'

const TOPIC_BYTES = 32
const FIRST_CAPACITY = 16

/** Gives each topic that has rows a small number, for as long as it has any. Packed: about 50 bytes a topic. */
export class TopicTable {
  readonly #hash: KeyedHash
  readonly #index = new HashIndex()
  #bytes = Buffer.alloc(FIRST_CAPACITY * TOPIC_BYTES)
  /** Rows of each topic; of a free number, the next free one. */
  #uses = new Uint32Array(FIRST_CAPACITY)
  #used = 0
  #firstFree = NONE
  /** The one that was found last: rows of a topic often come one after the other. */
  #found = NONE

  constructor(hash: KeyedHash) {
    this.#hash = hash
  }

  /** Topics that have rows. */
  get size(): number {
    return this.#index.size
  }

  /** All numbers are below this one. */
  get numbers(): number {
    return this.#used
  }

  get capacityBytes(): number {
    return this.#bytes.length + this.#uses.byteLength + this.#index.capacityBytes
  }

  /** The number of a topic, or NONE. */
  find(topic: Uint8Array): number {
    if (this.#found !== NONE && this.#is(this.#found, topic)) return this.#found
    const cell = this.#cell(topic, this.#hash.of(topic, 0))
    this.#found = cell === NONE ? NONE : this.#index.slot(cell)
    return this.#found
  }

  /** The number of a topic that gets one more row. */
  use(topic: Uint8Array): number {
    const hash = this.#hash.of(topic, 0)
    const cell = this.#cell(topic, hash)
    const number = cell === NONE ? this.#add(topic, hash) : this.#index.slot(cell)
    return this.useAgain(number)
  }

  /** A topic that has rows gets one more. */
  useAgain(number: number): number {
    this.#uses[number] = (this.#uses[number] as number) + 1
    return number
  }

  /** The topic has one row less; with the last one its number is free. */
  release(number: number): void {
    const uses = (this.#uses[number] as number) - 1
    this.#uses[number] = uses
    if (uses > 0) return
    const topic = this.bytes(number)
    this.#index.remove(this.#cell(topic, this.#hash.of(topic, 0)))
    this.#uses[number] = this.#firstFree
    this.#firstFree = number
    this.#found = NONE
  }

  /** A copy of the topic's 32 bytes. */
  bytes(number: number): Uint8Array {
    return new Uint8Array(this.#view(number))
  }

  key(number: number): ByteKey {
    return this.#bytes.toString('latin1', number * TOPIC_BYTES, (number + 1) * TOPIC_BYTES)
  }

  #view(number: number): Uint8Array {
    return this.#bytes.subarray(number * TOPIC_BYTES, (number + 1) * TOPIC_BYTES)
  }

  #cell(topic: Uint8Array, hash: number): number {
    let cell = this.#index.first(hash)
    while (cell !== NONE && !this.#is(this.#index.slot(cell), topic)) cell = this.#index.next(cell, hash)
    return cell
  }

  #is(number: number, topic: Uint8Array): boolean {
    const start = number * TOPIC_BYTES
    for (let i = 0; i < TOPIC_BYTES; i++) if (this.#bytes[start + i] !== topic[i]) return false
    return true
  }

  #add(topic: Uint8Array, hash: number): number {
    const number = this.#allocate()
    this.#bytes.set(topic, number * TOPIC_BYTES)
    this.#uses[number] = 0
    this.#index.add(hash, number)
    return number
  }

  #allocate(): number {
    const free = this.#firstFree
    if (free !== NONE) {
      this.#firstFree = this.#uses[free] as number
      return free
    }
    if (this.#used === this.#uses.length) {
      const bytes = Buffer.alloc(2 * this.#bytes.length)
      bytes.set(this.#bytes)
      this.#bytes = bytes
      const uses = new Uint32Array(2 * this.#uses.length)
      uses.set(this.#uses)
      this.#uses = uses
    }
    return this.#used++
  }
}
