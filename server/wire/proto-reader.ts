/** Protobuf wire types (https://protobuf.dev/programming-guides/encoding). Groups (3, 4) are read by nobody here. */
export const WIRE_VARINT = 0
export const WIRE_FIXED64 = 1
export const WIRE_LENGTH = 2
export const WIRE_FIXED32 = 5

/** The message uses something this reader does not: leave it to the real decoder. */
export class UnusualMessage extends Error {
  override readonly name = 'UnusualMessage'
}

/** Reads the fields of one protobuf message in place, without decoding what it is not asked for. It may be a part of `bytes`. */
export class ProtoReader {
  readonly #bytes: Uint8Array
  /** The memory of `bytes`: to ask an array for it takes half as long as to make a view. */
  readonly #memory: ArrayBufferLike
  readonly #end: number
  #at: number
  /** Number of the current field. */
  field = 0
  /** Wire type of the current field. */
  wireType = 0
  /** Where the value that `span` passed over starts in `bytes`. */
  valueAt = 0

  constructor(bytes: Uint8Array, start = 0, end = bytes.byteLength, memory = bytes.buffer) {
    this.#bytes = bytes
    this.#memory = memory
    this.#at = start
    this.#end = end
  }

  /** Whether nothing follows. */
  get isAtEnd(): boolean {
    return this.#at >= this.#end
  }

  /** Moves to the next field: `field` and `wireType` say which. False at the end. */
  next(): boolean {
    if (this.#at >= this.#end) return false
    const tag = this.varint()
    this.field = tag < 0x80 ? tag >> 3 : Math.floor(tag / 8)
    this.wireType = tag & 7
    if (this.field === 0) throw new UnusualMessage()
    return true
  }

  /** A varint within the safe integers. */
  varint(): number {
    // One byte is what most of them have: tags, and lengths of keys.
    if (this.#at < this.#end && (this.#bytes[this.#at] as number) < 0x80) return this.#byte()
    let value = 0
    for (let shift = 1; shift < 2 ** 56; shift *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return Number.isSafeInteger(value) ? value : fail()
    }
    return fail()
  }

  /** A varint of up to 64 bits. */
  uint64(): bigint {
    // In two halves of 32 bits: one bigint at the end costs less than arithmetic with several.
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return BigInt(low)
    }
    let byte = this.#byte()
    low |= (byte & 0x0f) << 28
    let high = (byte & 0x7f) >> 4
    for (let shift = 3; byte >= 0x80; shift += 7) {
      if (shift > 31) return fail()
      byte = this.#byte()
      // The tenth byte has room for one bit.
      if (shift === 31 && byte > 1) return fail()
      high |= (byte & 0x7f) << shift
    }
    UINT64.setUint32(0, high)
    UINT64.setUint32(4, low)
    return UINT64.getBigUint64(0)
  }

  /** A length-delimited field, as a view. */
  bytes(): Uint8Array {
    const length = this.span()
    // Not `subarray`: that of a Buffer takes three times as long.
    return new Uint8Array(this.#memory, this.#bytes.byteOffset + this.valueAt, length)
  }

  /** A reader of a length-delimited field that is a message itself. */
  message(): ProtoReader {
    const length = this.span()
    return new ProtoReader(this.#bytes, this.valueAt, this.valueAt + length, this.#memory)
  }

  /** Passes over a length-delimited field and returns its length; `valueAt` says where it starts. */
  span(): number {
    const length = this.varint()
    if (length > this.#end - this.#at) throw new UnusualMessage()
    this.valueAt = this.#at
    this.#at += length
    return length
  }

  /** Passes over the value of the current field. */
  skip(): void {
    const { wireType } = this
    if (wireType === WIRE_VARINT) this.uint64()
    else if (wireType === WIRE_LENGTH) this.span()
    else if (wireType === WIRE_FIXED64) this.#advance(8)
    else if (wireType === WIRE_FIXED32) this.#advance(4)
    else fail()
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new UnusualMessage()
    return this.#bytes[this.#at++] as number
  }

  #advance(bytes: number): void {
    if (bytes > this.#end - this.#at) throw new UnusualMessage()
    this.#at += bytes
  }
}

/** Where two halves become a whole. */
const UINT64 = new DataView(new ArrayBuffer(8))

function fail(): never {
  throw new UnusualMessage()
}
