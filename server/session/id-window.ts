/**
 * What an id was last used for: its envelope was delivered or held by this server, or is elsewhere, in the care of another
 * one. The first two are here already when they come again; the third may come back, when its recipient has moved.
 */
export type IdFate = 'delivered' | 'held' | 'elsewhere'

const FATES: readonly (IdFate | undefined)[] = [undefined, 'delivered', 'held', 'elsewhere']
const CODES: Readonly<Record<IdFate, number>> = { delivered: 1, held: 2, elsewhere: 3 }

/** 32 bit words of an id. */
const ID_WORDS = 4

/** A peer that sent a handful takes 272 bytes. */
const FIRST_CELLS = 16

/** What one that sent nothing has; never written to. */
const NO_WORDS = new Uint32Array(ID_WORDS)
const NO_VALUES = new Uint8Array(1)

/**
 * The last ids of one peer, to tell a repeated envelope from a new one. Two generations of half the size: when the young
 * one is full it becomes the old one, so at least `size / 2` and at most `size` ids are known, without a list to maintain.
 * Ids are arrays of 16 bytes; they are copied.
 */
export class IdWindow {
  readonly #half: number
  #young = new Generation()
  #old = new Generation()

  constructor(size: number) {
    this.#half = Math.max(1, Math.ceil(size / 2))
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  has(id: Uint8Array): boolean {
    return this.fateOf(id) !== undefined
  }

  fateOf(id: Uint8Array): IdFate | undefined {
    const words = wordsOf(id)
    return FATES[this.#young.get(words) || this.#old.get(words)]
  }

  /** Remembers an id that is new, or gives a known one another fate. */
  set(id: Uint8Array, fate: IdFate): void {
    const words = wordsOf(id)
    if (this.#old.get(words) !== 0) {
      this.#old.set(words, CODES[fate])
      return
    }
    if (this.#young.size >= this.#half && this.#young.get(words) === 0) {
      const oldest = this.#old
      this.#old = this.#young
      this.#young = oldest
      oldest.clear()
    }
    this.#young.set(words, CODES[fate])
  }
}

/**
 * Ids and a small number above 0 for each: an open-addressing hash table in typed arrays, at most half full. Nothing is
 * ever taken out but everything, and its memory is used again: a map of strings would be garbage as fast as it was filled.
 *
 * A peer chooses its ids, and may choose them so that all fall into one place. That costs its own envelopes a look at each of
 * the half a window that is here, a microsecond.
 */
class Generation {
  #words = NO_WORDS
  #values = NO_VALUES
  size = 0

  /** 0 when it is not there. */
  get(id: Uint32Array): number {
    return this.#values[this.#cell(id)] as number
  }

  set(id: Uint32Array, value: number): void {
    let cell = this.#cell(id)
    if (this.#values[cell] === 0) {
      this.size += 1
      if (this.size * 2 > this.#values.length) cell = this.#grow(id)
      this.#words.set(id, cell * ID_WORDS)
    }
    this.#values[cell] = value
  }

  clear(): void {
    this.#values.fill(0)
    this.size = 0
  }

  /** Where the id is, or the empty cell where it would be. */
  #cell(id: Uint32Array): number {
    const words = this.#words
    const values = this.#values
    const mask = values.length - 1
    const [a, b, c, d] = [id[0] as number, id[1] as number, id[2] as number, id[3] as number]
    let cell = hashOf(a, b, c, d) & mask
    while (values[cell] !== 0) {
      const at = cell * ID_WORDS
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d) break
      cell = (cell + 1) & mask
    }
    return cell
  }

  /** Makes room, and returns the empty cell of an id that is not there. */
  #grow(id: Uint32Array): number {
    const [words, values] = [this.#words, this.#values]
    const cells = Math.max(FIRST_CELLS, 2 * values.length)
    this.#words = new Uint32Array(ID_WORDS * cells)
    this.#values = new Uint8Array(cells)
    for (let from = 0; from < values.length; from++) {
      if (values[from] === 0) continue
      const known = words.subarray(from * ID_WORDS, (from + 1) * ID_WORDS)
      const to = this.#cell(known)
      this.#words.set(known, to * ID_WORDS)
      this.#values[to] = values[from] as number
    }
    return this.#cell(id)
  }
}

/** Counters and time stamps differ in few bits, wherever they stand: every bit has to reach the low ones. */
function hashOf(a: number, b: number, c: number, d: number): number {
  const mixed =
    Math.imul(a, 0x9e3779b1) + Math.imul(b, 0x85ebca77) + Math.imul(c, 0xc2b2ae3d) + Math.imul(d, 0x27d4eb2f)
  return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> 12
}

/** Where an id that is looked up is spelled out: this happens for every message. */
const WORDS = new Uint32Array(ID_WORDS)

function wordsOf(id: Uint8Array): Uint32Array {
  for (let word = 0; word < ID_WORDS; word++) {
    const at = word * 4
    const high = ((id[at + 3] as number) << 24) | ((id[at + 2] as number) << 16)
    WORDS[word] = high | ((id[at + 1] as number) << 8) | (id[at] as number)
  }
  return WORDS
}
