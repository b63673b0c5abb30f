import { Gaps } from './sctp-gaps.ts'
import { type DataChunk, FIRST_FRAGMENT, LAST_FRAGMENT, UNORDERED } from './sctp-packet.ts'

/**
 * The receiving half of an SCTP association, in place of werift's.
 *
 * werift's sorts sequence numbers as text, stalls when they wrap, acknowledges every packet by itself, and reassembles without
 * any bound. This one relies on what the channels here are: reliable, without interleaving (RFC 8260), so that the fragments of a
 * message have consecutive numbers and delivery in the order of the numbers is delivery in the order of every stream. Messages
 * without order are delivered as they come, when they are of one fragment, as datagrams are; longer ones take their turn. It keeps
 * at most one window of data that came too early, and at most one unfinished message.
 */
export interface InboundMessage {
  readonly streamId: number
  readonly protocol: number
  /** In a buffer of its own: the bytes of a small one would otherwise keep a whole pool alive, and show it. */
  readonly data: Uint8Array<ArrayBuffer>
}

/** What a peer must never send; the association ends. */
export class SctpViolation extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SctpViolation'
  }
}

/** 64 KiB: `a=max-message-size` of our descriptions. */
export const MAX_MESSAGE_BYTES = 65_536

/** 1 MiB, as werift advertises it: 16 messages of the maximum size, or 10 MB/s at 100 ms round trip. */
export const WINDOW_BYTES = 1_048_576

/** Numbers further ahead are not kept: 2,048 chunks of 512 bytes fill the window, and chunks of 1,100 are usual. */
const MAX_AHEAD = 2048

/** 1,024 fragments of 64 bytes make the largest message; 60 are usual. */
const MAX_FRAGMENTS = 1024

/** Each one takes 4 bytes; 64 keep the acknowledgement in one small packet. */
const MAX_GAPS = 64

export class SctpInbound {
  readonly #deliver: (message: InboundMessage) => void
  readonly #isOrdered: (streamId: number) => boolean
  /** By number; undefined for what was delivered already. */
  readonly #early = new Map<number, DataChunk | undefined>()
  readonly #gaps = new Gaps()
  #earlyBytes = 0
  #cumulativeTsn: number
  #partial: DataChunk[] = []
  #partialBytes = 0

  /** `cumulativeTsn`: the number before the peer's first. `isOrdered`: whether a stream is known to keep order. */
  constructor(
    cumulativeTsn: number,
    deliver: (message: InboundMessage) => void,
    isOrdered: (streamId: number) => boolean,
  ) {
    this.#cumulativeTsn = cumulativeTsn >>> 0
    this.#deliver = deliver
    this.#isOrdered = isOrdered
  }

  /** Everything up to this number has been received. */
  get cumulativeTsn(): number {
    return this.#cumulativeTsn
  }

  get windowBytes(): number {
    return WINDOW_BYTES - this.#earlyBytes
  }

  /** Whether something is missing before the newest chunk. */
  get hasGaps(): boolean {
    return !this.#gaps.isEmpty
  }

  /**
   * Takes a chunk and delivers what it completes.
   * @returns false for a chunk that was seen before or does not fit the window.
   * @throws SctpViolation
   */
  receive(chunk: DataChunk): boolean {
    const ahead = (chunk.tsn - this.#cumulativeTsn) >>> 0
    if (ahead === 0 || ahead > MAX_AHEAD || this.#early.has(chunk.tsn)) return false
    if ((chunk.flags & UNORDERED) !== 0 && this.#isOrdered(chunk.streamId)) {
      throw new SctpViolation('Unordered data on an ordered channel')
    }
    if (ahead > 1) {
      if (isDatagram(chunk)) {
        this.#early.set(chunk.tsn, undefined)
        this.#gaps.add(chunk.tsn, this.#cumulativeTsn)
        this.#deliverAlone(chunk)
        return true
      }
      if (this.#earlyBytes + chunk.userData.length > WINDOW_BYTES) return false
      this.#early.set(chunk.tsn, chunk)
      this.#gaps.add(chunk.tsn, this.#cumulativeTsn)
      this.#earlyBytes += chunk.userData.length
      return true
    }
    this.#cumulativeTsn = chunk.tsn
    this.#append(chunk)
    this.#catchUp()
    return true
  }

  /** What was received beyond the cumulative number, as offsets from it. */
  gaps(): [number, number][] {
    return this.#gaps.offsets(this.#cumulativeTsn, MAX_GAPS)
  }

  #catchUp(): void {
    let tsn = (this.#cumulativeTsn + 1) >>> 0
    if (!this.#early.has(tsn)) return
    this.#gaps.shift()
    for (; this.#early.has(tsn); tsn = (tsn + 1) >>> 0) {
      const chunk = this.#early.get(tsn)
      this.#early.delete(tsn)
      this.#cumulativeTsn = tsn
      if (chunk === undefined) continue
      this.#earlyBytes -= chunk.userData.length
      this.#append(chunk)
    }
  }

  #deliverAlone(chunk: DataChunk): void {
    this.#deliver({ streamId: chunk.streamId, protocol: chunk.protocol, data: joined([chunk]) })
  }

  #append(chunk: DataChunk): void {
    if (isDatagram(chunk)) return this.#deliverAlone(chunk)
    const first = (chunk.flags & FIRST_FRAGMENT) !== 0
    const open = this.#partial[0]
    if (first !== (open === undefined)) throw new SctpViolation('Fragments of messages are mixed')
    if (open !== undefined && (open.streamId !== chunk.streamId || open.protocol !== chunk.protocol)) {
      throw new SctpViolation('Fragments of one message disagree')
    }
    this.#partialBytes += chunk.userData.length
    if (this.#partialBytes > MAX_MESSAGE_BYTES) throw new SctpViolation(`A message exceeds ${MAX_MESSAGE_BYTES} bytes`)
    if (this.#partial.length === MAX_FRAGMENTS) throw new SctpViolation(`A message exceeds ${MAX_FRAGMENTS} fragments`)
    this.#partial.push(chunk)
    if ((chunk.flags & LAST_FRAGMENT) === 0) return
    const parts = this.#partial
    this.#partial = []
    this.#partialBytes = 0
    this.#deliver({ streamId: chunk.streamId, protocol: chunk.protocol, data: joined(parts) })
  }
}

/** A message without order, in one fragment: it need not wait for anything. */
function isDatagram({ flags }: DataChunk): boolean {
  return (flags & WHOLE_UNORDERED) === WHOLE_UNORDERED
}

const WHOLE_UNORDERED = UNORDERED | FIRST_FRAGMENT | LAST_FRAGMENT

function joined(parts: readonly DataChunk[]): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(parts.reduce((bytes, { userData }) => bytes + userData.length, 0))
  let at = 0
  for (const { userData } of parts) {
    data.set(userData, at)
    at += userData.length
  }
  return data
}
