/** An event of a session: its position, and a serialised `Event` without the cursor field. */
export interface StoredEvent {
  readonly cursor: number
  readonly body: Uint8Array
}

/** A stored event, and the monotonic time at which it was appended. */
export interface DatedEvent extends StoredEvent {
  readonly atMs: number
}

interface Entry extends DatedEvent {
  /** Cost of every event appended up to and including this one. */
  readonly totalBytes: number
}

export interface ReplayBufferOptions {
  /** Bound of what no stream has taken yet, in bytes. */
  readonly maxUnreadBytes: number
  /** Bounds of what was taken and is kept for a resuming stream. */
  readonly maxReadEvents: number
  readonly maxReadBytes: number
  readonly maxReadAgeMs: number
}

/** Cursors that can no longer be replayed, both ends included. */
export interface LostRange {
  readonly fromCursor: number
  readonly toCursor: number
}

/** Charged per event beside its bytes: the entry, the array header and the place in the list, rounded up. */
const EVENT_OVERHEAD_BYTES = 128

/**
 * The queue of one session and its memory, in one list ordered by cursor.
 *
 *     forgotten | read, kept for a resume | unread
 *               ^ first                    ^ readCursor      ^ head
 *
 * Streams keep their own position in it, so a stream costs no queue. Both parts are bounded: unread events by bytes
 * (`fits` says whether one more has room), read ones by count, bytes and age, oldest first.
 */
export class ReplayBuffer {
  readonly #options: ReplayBufferOptions
  #entries: Entry[] = []
  /** Entries before this index are forgotten; the array is compacted when they are half of it. */
  #start = 0
  #head = 0
  #headBytes = 0
  #readCursor = 0
  #readBytes = 0
  #forgottenBytes = 0

  constructor(options: ReplayBufferOptions) {
    this.#options = options
  }

  /** Cursor of the newest event, 0 before the first. */
  get head(): number {
    return this.#head
  }

  /** Cursor of the newest event that a stream has taken. */
  get readCursor(): number {
    return this.#readCursor
  }

  /** Cost of everything held, for tests and metrics. */
  get bytes(): number {
    return this.#headBytes - this.#forgottenBytes
  }

  get #first(): number {
    return this.#head - (this.#entries.length - this.#start) + 1
  }

  /** Whether an event of this size has room among the unread. */
  fits(bodyBytes: number): boolean {
    return this.bytesAfter(this.#readCursor) + bodyBytes + EVENT_OVERHEAD_BYTES <= this.#options.maxUnreadBytes
  }

  /** Appends an event. When it has no room, the oldest unread events are forgotten: a resume will name them as lost. */
  append(body: Uint8Array, nowMs: number): number {
    const cost = body.byteLength + EVENT_OVERHEAD_BYTES
    this.#head += 1
    this.#headBytes += cost
    this.#entries.push({ cursor: this.#head, body, atMs: nowMs, totalBytes: this.#headBytes })
    this.#trim(nowMs)
    return this.#head
  }

  /** The event after `cursor`; undefined at the head, or when it was forgotten. */
  after(cursor: number): StoredEvent | undefined {
    const offset = cursor + 1 - this.#first
    return offset < 0 ? undefined : this.#entries[this.#start + offset]
  }

  /** What no stream has taken, oldest first. */
  unread(): readonly DatedEvent[] {
    const offset = this.#readCursor + 1 - this.#first
    return this.#entries.slice(this.#start + Math.max(0, offset))
  }

  /** Cost of the events after `cursor` that are still held. */
  bytesAfter(cursor: number): number {
    if (cursor >= this.#head) return 0
    const offset = cursor - this.#first
    const before = offset < 0 ? this.#forgottenBytes : (this.#entries[this.#start + offset] as Entry).totalBytes
    return this.#headBytes - before
  }

  /** What a stream that continues after `cursor` has missed; undefined when nothing. */
  lostAfter(cursor: number): LostRange | undefined {
    const toCursor = this.#first - 1
    return cursor < toCursor ? { fromCursor: cursor + 1, toCursor } : undefined
  }

  /** A stream has taken everything up to `cursor`. */
  markRead(cursor: number, nowMs: number): void {
    if (cursor > this.#readCursor) {
      this.#readCursor = Math.min(cursor, this.#head)
      this.#readBytes = this.#headBytes - this.bytesAfter(this.#readCursor)
    }
    // Also without news: a heartbeat is the occasion to forget what has become old.
    this.#trim(nowMs)
  }

  /** The client has handled everything up to `cursor`: it needs not be kept. */
  acknowledge(cursor: number, nowMs: number): void {
    const handled = Math.min(cursor, this.#head)
    this.markRead(handled, nowMs)
    while (this.#first <= handled) this.#forgetOldest()
  }

  #trim(nowMs: number): void {
    const { maxUnreadBytes, maxReadEvents, maxReadBytes, maxReadAgeMs } = this.#options
    while (this.#first <= this.#readCursor) {
      const oldest = this.#entries[this.#start] as Entry
      const readEvents = this.#readCursor - this.#first + 1
      const tooMany = readEvents > maxReadEvents || this.#readBytes - this.#forgottenBytes > maxReadBytes
      if (!tooMany && nowMs - oldest.atMs <= maxReadAgeMs) break
      this.#forgetOldest()
    }
    while (this.bytesAfter(this.#readCursor) > maxUnreadBytes && this.#first < this.#head) this.#forgetOldest()
  }

  #forgetOldest(): void {
    const oldest = this.#entries[this.#start] as Entry
    this.#forgottenBytes = oldest.totalBytes
    this.#start += 1
    // Entries are dropped in halves, so that forgetting costs O(1) on average.
    if (this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start)
      this.#start = 0
    }
  }
}
