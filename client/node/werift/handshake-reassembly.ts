import type { HandshakeMessage } from './werift-internals.ts'

/**
 * Handshake messages out of fragments (RFC 6347 sections 4.2.2 and 4.2.3), each delivered once and in order.
 *
 * werift joins fragments by message type, accepts any lengths, keeps them without bound and acts on messages in the order the
 * network delivers them, which is why lost and reordered packets end its handshakes.
 */
export class HandshakeReassembly {
  readonly #partial = new Map<number, Partial>()
  #next = 0

  /** Number of the message that comes next. */
  get next(): number {
    return this.#next
  }

  /**
   * Takes the plaintext of one record.
   * @returns the number of fragments that belong to messages already taken: a sign that the peer sends again.
   */
  push(plaintext: Buffer, encrypted: boolean): number {
    let old = 0
    let position = 0
    while (plaintext.length - position >= HEADER_BYTES) {
      const type = plaintext[position]!
      const length = plaintext.readUIntBE(position + 1, 3)
      const sequence = plaintext.readUInt16BE(position + 4)
      const offset = plaintext.readUIntBE(position + 6, 3)
      const fragmentLength = plaintext.readUIntBE(position + 9, 3)
      const end = position + HEADER_BYTES + fragmentLength
      if (length > MAX_MESSAGE_BYTES || offset + fragmentLength > length || end > plaintext.length) return old
      if (sequence < this.#next) old += 1
      else if (sequence < this.#next + WINDOW_MESSAGES) {
        this.#add(sequence, type, length, encrypted, offset, plaintext.subarray(position + HEADER_BYTES, end))
      }
      position = end
    }
    return old
  }

  /** The next message when all of it is there. It counts as taken. */
  take(): { readonly message: CompleteHandshake; readonly encrypted: boolean } | undefined {
    const partial = this.#partial.get(this.#next)
    if (partial === undefined || partial.missing > 0) return undefined
    this.#partial.delete(this.#next)
    const message = new CompleteHandshake(partial.type, this.#next, partial.bytes)
    this.#next += 1
    return { message, encrypted: partial.encrypted }
  }

  /**
   * Any message that is complete, in no order and without counting it as taken: before the cookie exchange a server keeps no
   * count, since hellos may come from anybody and more than once.
   */
  takeAny(): { readonly message: CompleteHandshake; readonly encrypted: boolean } | undefined {
    for (const [sequence, partial] of this.#partial) {
      if (partial.missing > 0) continue
      this.#partial.delete(sequence)
      return { message: new CompleteHandshake(partial.type, sequence, partial.bytes), encrypted: partial.encrypted }
    }
    return undefined
  }

  /** Goes on with the message after `sequence`. */
  skipTo(sequence: number): void {
    for (const key of this.#partial.keys()) if (key < sequence) this.#partial.delete(key)
    this.#next = sequence
  }

  #add(sequence: number, type: number, length: number, encrypted: boolean, offset: number, bytes: Buffer): void {
    let partial = this.#partial.get(sequence)
    // Fragments that contradict each other: the newer one wins, so that a forged one cannot block the message for ever.
    if (partial?.type !== type || partial.bytes.length !== length || partial.encrypted !== encrypted) {
      partial = { type, encrypted, bytes: Buffer.alloc(length), have: new Uint8Array(length), missing: length }
      this.#partial.set(sequence, partial)
    }
    for (let index = 0; index < bytes.length; index += 1) {
      if (partial.have[offset + index] === 1) continue
      partial.have[offset + index] = 1
      partial.bytes[offset + index] = bytes[index]!
      partial.missing -= 1
    }
  }
}

interface Partial {
  readonly type: number
  readonly encrypted: boolean
  readonly bytes: Buffer
  readonly have: Uint8Array
  missing: number
}

/** A whole message, in the shape werift's flights keep and hash. */
export class CompleteHandshake implements HandshakeMessage {
  readonly fragment_offset = 0
  readonly msg_type: number
  readonly message_seq: number
  readonly fragment: Buffer

  constructor(type: number, sequence: number, body: Buffer) {
    this.msg_type = type
    this.message_seq = sequence
    this.fragment = body
  }

  get length(): number {
    return this.fragment.length
  }

  get fragment_length(): number {
    return this.fragment.length
  }

  serialize(): Buffer {
    const header = Buffer.alloc(HEADER_BYTES)
    header[0] = this.msg_type
    header.writeUIntBE(this.length, 1, 3)
    header.writeUInt16BE(this.message_seq, 4)
    header.writeUIntBE(this.length, 9, 3)
    return Buffer.concat([header, this.fragment])
  }
}

const HEADER_BYTES = 12

/** 8 KiB: a hello with post-quantum key shares is 2 KiB, a certificate under 1 KiB. */
const MAX_MESSAGE_BYTES = 8192

/** The longest flight is five messages. With the size above: at most 64 KiB of fragments, twice that with their maps. */
const WINDOW_MESSAGES = 8
