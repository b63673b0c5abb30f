/** Chunks are 1 MiB, so that one evacuation copies at most 512 KiB: well below a millisecond. */
const CHUNK_BYTES = 1 << 20
/** The first chunk starts small and doubles: a table of ten rows must not cost a mebibyte. */
const FIRST_CHUNK_BYTES = 1 << 12
/** Entries are aligned to 8 bytes, so that 32 bits name any of 32 GiB. */
const ALIGN = 8
const UNITS_PER_CHUNK = CHUNK_BYTES / ALIGN
/** Before each entry two words of 32 bits: its owner; its length, and whether it was freed. */
const HEADER_BYTES = 8
const FREED = 0x8000_0000

interface Chunk {
  /** The memory, as bytes and as words. To ask an array for it takes half as long as to make a view. */
  memory: ArrayBuffer
  bytes: Buffer
  words: Uint32Array
  used: number
  /** Bytes of entries that were not freed. */
  live: number
}

/**
 * Byte strings of up to 64 KiB, packed into large buffers outside the JavaScript heap.
 *
 * An entry is named by a number and belongs to an owner, also a number. A chunk of which less than half is alive is
 * evacuated: its entries move behind the newest ones, each owner is told (`moved`), and the chunk is given back. So the
 * memory is never more than about twice what is alive, whatever sizes come and go, and a freed byte costs at most one
 * copied byte.
 */
export class ByteSlab {
  readonly #moved: (owner: number, entry: number) => void
  readonly #chunks: (Chunk | undefined)[] = []
  /** Places in `#chunks` that were given back. */
  readonly #vacant: number[] = []
  /** Where new entries go. */
  #current = -1

  constructor(moved: (owner: number, entry: number) => void) {
    this.#moved = moved
  }

  /** Bytes of all chunks. */
  get capacityBytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + (chunk?.bytes.length ?? 0), 0)
  }

  /** Stores `head` followed by `tail`, and returns the name of the entry. */
  put(owner: number, head: Uint8Array, tail: Uint8Array): number {
    const length = head.length + tail.length
    const chunk = this.#room(HEADER_BYTES + length)
    const start = chunk.used
    chunk.words[start / 4] = owner
    chunk.words[start / 4 + 1] = length
    chunk.bytes.set(head, start + HEADER_BYTES)
    chunk.bytes.set(tail, start + HEADER_BYTES + head.length)
    const size = sizeOf(length)
    chunk.used += size
    chunk.live += size
    return this.#current * UNITS_PER_CHUNK + start / ALIGN
  }

  /** The entry's bytes where they lie: valid until the next `put` or `free`. */
  view(entry: number): Uint8Array {
    const { memory, words } = this.#chunkOf(entry)
    const start = startOf(entry)
    // Not `subarray`: that of a Buffer takes three times as long.
    return new Uint8Array(memory, start + HEADER_BYTES, words[start / 4 + 1] as number)
  }

  /** `length` bytes of the entry from `at` on, one character per byte. */
  latin1(entry: number, at: number, length: number): string {
    const start = startOf(entry) + HEADER_BYTES + at
    return this.#chunkOf(entry).bytes.toString('latin1', start, start + length)
  }

  /** Whether the entry has the 32 bytes `key` at `at`. */
  has32(entry: number, at: number, key: Uint8Array): boolean {
    const { bytes } = this.#chunkOf(entry)
    const start = startOf(entry) + HEADER_BYTES + at
    for (let i = 0; i < 32; i++) if (bytes[start + i] !== key[i]) return false
    return true
  }

  /** Gives the entry up; may move others. */
  free(entry: number): void {
    const place = Math.floor(entry / UNITS_PER_CHUNK)
    const chunk = this.#chunkOf(entry)
    const start = startOf(entry)
    const length = chunk.words[start / 4 + 1] as number
    chunk.words[start / 4 + 1] = (length | FREED) >>> 0
    chunk.live -= sizeOf(length)
    if (chunk.live * 2 < chunk.used && place !== this.#current) this.#evacuate(place, chunk)
  }

  #evacuate(place: number, { bytes, words, used }: Chunk): void {
    for (let start = 0; start < used; ) {
      const header = words[start / 4 + 1] as number
      if (header < FREED) {
        const owner = words[start / 4] as number
        const content = bytes.subarray(start + HEADER_BYTES, start + HEADER_BYTES + header)
        this.#moved(owner, this.put(owner, content, NOTHING))
      }
      start += sizeOf(header & ~FREED)
    }
    this.#chunks[place] = undefined
    this.#vacant.push(place)
  }

  /** The current chunk, with room for `bytes` more. */
  #room(bytes: number): Chunk {
    const chunk = this.#chunks[this.#current]
    if (chunk !== undefined && chunk.used + bytes <= chunk.bytes.length) return chunk
    if (chunk !== undefined && chunk.bytes.length < CHUNK_BYTES) {
      const larger = chunkOf(Math.min(CHUNK_BYTES, 2 * chunk.bytes.length), chunk)
      this.#chunks[this.#current] = larger
      return this.#room(bytes)
    }
    const size = chunk === undefined ? FIRST_CHUNK_BYTES : CHUNK_BYTES
    this.#current = this.#vacant.pop() ?? this.#chunks.length
    this.#chunks[this.#current] = chunkOf(size)
    return this.#room(bytes)
  }

  #chunkOf(entry: number): Chunk {
    return this.#chunks[Math.floor(entry / UNITS_PER_CHUNK)] as Chunk
  }
}

const NOTHING = new Uint8Array()

/** A chunk of `size` bytes, with what was in a smaller one. */
function chunkOf(size: number, smaller?: Chunk): Chunk {
  const memory = new ArrayBuffer(size)
  const bytes = Buffer.from(memory)
  if (smaller !== undefined) bytes.set(smaller.bytes)
  return { memory, bytes, words: new Uint32Array(memory), used: smaller?.used ?? 0, live: smaller?.live ?? 0 }
}

function startOf(entry: number): number {
  return (entry % UNITS_PER_CHUNK) * ALIGN
}

/** Bytes that an entry takes, with its header and what aligns the next one. */
function sizeOf(length: number): number {
  return Math.ceil((HEADER_BYTES + length) / ALIGN) * ALIGN
}
