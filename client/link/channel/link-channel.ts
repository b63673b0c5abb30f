import { ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { MAX_DATAGRAM_BYTES } from '../link-limits.ts'
import { type ChannelMachine, channelClosed } from './channel-machine.ts'
import { type Listener, Reader } from './reader.ts'

/** How a waiting call can be given up. */
export interface WaitOptions {
  signal?: AbortSignal | undefined
}

/**
 * One channel of a link, as the application holds it. Both directions are independent until one side resets.
 *
 * One reader per channel: `readable`, `messages`/`receiveMessage`, or `onMessage`. What nobody reads waits, and holds
 * the sender back by credit.
 */
export class LinkChannel {
  readonly #machine: ChannelMachine
  readonly #reader: Reader
  readonly #closed: Promise<MeshError | undefined>
  #readable: ReadableStream<Uint8Array> | undefined
  #writable: WritableStream<Uint8Array> | undefined

  /** Channels come from `Link.openChannel` and `LinkEffects.channel`. */
  constructor(machine: ChannelMachine) {
    this.#machine = machine
    this.#reader = new Reader(machine)
    this.#closed = new Promise((resolve) => {
      machine.onChange(() => {
        this.#reader.changed()
        if (machine.closed) resolve(machine.error)
      })
    })
  }

  /** ChannelOpen.channel. */
  get id(): number {
    return this.#machine.id
  }
  /** The swarm it belongs to, 32 bytes. */
  get topic(): Uint8Array {
    return this.#machine.topic
  }
  /** At most 256 bytes in UTF-8; empty for the channel of `swarm.send`. */
  get name(): string {
    return this.#machine.name
  }
  get kind(): ChannelKind {
    return this.#machine.kind
  }
  get opener(): 'local' | 'remote' {
    return this.#machine.opener
  }
  /** `ended`: this side sends no more. `closed`: both directions are over. */
  get state(): 'open' | 'ended' | 'closed' {
    if (this.#machine.closed) return 'closed'
    return this.#machine.outbox.ended ? 'ended' : 'open'
  }
  /** When both directions are over: undefined after an ordinary end, else why. Never rejects. */
  get closed(): Promise<MeshError | undefined> {
    return this.#closed
  }
  /** Bytes that wait to be put into packets. */
  get queuedBytes(): number {
    return this.#machine.outbox.queuedBytes
  }

  /**
   * Sends one message. Resolves when the other side's link has it and everything before it on the link, in order;
   * whether its application has seen it, only an answer tells. The bytes are not copied: leave them unchanged until
   * then. At most 16 MiB (`LinkLimits.maxMessageBytes`); may be empty.
   *
   * Abort before any part has left: the message is not sent. Later: the promise rejects, the message may still arrive.
   * @throws MeshError MESSAGE_TOO_LARGE; LIMIT_EXCEEDED (queue full: await earlier messages); CHANNEL_CLOSED or the
   *   reason of a reset; LINK_CLOSED, LINK_TIMEOUT; ABORTED; INVALID_ARGUMENT on a channel of bytes
   */
  sendMessage(bytes: Uint8Array, { signal }: WaitOptions = {}): Promise<void> {
    if (signal?.aborted) return Promise.reject(MeshError.from(signal.reason))
    return new Promise((resolve, reject) => {
      this.#checkMessage(bytes)
      if (signal === undefined) {
        this.#machine.push(bytes, { acknowledged: resolve, failed: reject })
        return
      }
      const done = (): void => signal.removeEventListener('abort', abort)
      const queued = this.#machine.push(bytes, {
        acknowledged: () => {
          done()
          resolve()
        },
        failed: (error) => {
          done()
          reject(error)
        },
      })
      const abort = (): void => {
        done()
        queued.withdraw()
        reject(MeshError.from(signal.reason))
      }
      signal.addEventListener('abort', abort)
    })
  }

  /**
   * Sends one datagram, 1 to 1,024 bytes, now or never: it arrives once or not at all, and in any order. False when it was
   * dropped here, because there is no path or the path is full. The bytes are used before it returns.
   * @throws MeshError MESSAGE_TOO_LARGE; INVALID_ARGUMENT when empty, or on a channel of another kind; CHANNEL_CLOSED or the
   *   reason of a reset; LINK_CLOSED, LINK_TIMEOUT
   */
  sendDatagram(bytes: Uint8Array): boolean {
    if (this.kind !== ChannelKind.DATAGRAMS) throw invalidArgument('Not a channel of datagrams')
    if (bytes.length === 0) throw invalidArgument('A datagram must not be empty')
    if (bytes.length > MAX_DATAGRAM_BYTES) throw tooLarge('A datagram', 'max_datagram_bytes', MAX_DATAGRAM_BYTES, bytes)
    return this.#machine.sendDatagram(bytes.slice())
  }

  /**
   * The next message (of a channel of bytes: the next chunk); undefined after the other side's end. Abort loses nothing.
   * @throws MeshError ABORTED; the reason of a reset; LINK_CLOSED, LINK_TIMEOUT, once everything received was read
   */
  receiveMessage({ signal }: WaitOptions = {}): Promise<Uint8Array | undefined> {
    return this.#reader.next(signal)
  }

  /** Messages until the other side's end. Throws as `receiveMessage`; leaving the loop leaves the channel open. */
  async *messages(options: WaitOptions = {}): AsyncIterableIterator<Uint8Array> {
    for (;;) {
      const bytes = await this.receiveMessage(options)
      if (bytes === undefined) return
      yield bytes
    }
  }

  /**
   * Calls the listener with each message in order, those that wait already at once. While a promise it returned is
   * pending, the next message waits. A listener that throws or rejects resets the channel with its error.
   * @throws MeshError INVALID_ARGUMENT when the channel has a reader already
   */
  onMessage(listener: Listener): void {
    this.#reader.listen(listener)
  }

  /**
   * Ends this side's direction after what is queued. Resolves when the other side has it all. Again: does nothing.
   * @throws MeshError why the channel failed first
   */
  end(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#machine.end({ acknowledged: resolve, failed: reject })
    })
  }

  /**
   * Ends both directions now. What is queued or unread is dropped; calls that wait reject with the error, which the
   * other side gets too. Default CHANNEL_CLOSED. Harmless on a closed channel.
   */
  reset(error: MeshError = channelClosed(this.name)): void {
    this.#machine.reset(error)
  }

  /**
   * What the other side sends: chunks of at most 16,000 bytes (BYTES), or one message or datagram per chunk. Credit renews as
   * it is read. `cancel` resets the channel, unless the other side has ended.
   */
  get readable(): ReadableStream<Uint8Array> {
    this.#readable ??= new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const bytes = await this.#reader.next()
          if (bytes === undefined) controller.close()
          else controller.enqueue(bytes)
        },
        cancel: (reason) => {
          if (!this.#machine.inbox.ended) this.reset(abortError(reason, this.name))
        },
      },
      // Nothing is taken ahead of the reader: the inbox is the queue.
      new CountQueuingStrategy({ highWaterMark: 0 }),
    )
    return this.#readable
  }

  /**
   * Sends bytes, or each chunk as one message or datagram. Chunks are copied. A write resolves when less than 64 KiB
   * (`LinkLimits.maxStreamQueueBytes`) wait to leave; one of a datagram at once, and does not tell whether it was dropped. `close` is `end`; `abort` resets the channel.
   */
  get writable(): WritableStream<Uint8Array> {
    this.#writable ??= new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          void this.#closed.then((error) => {
            if (error !== undefined) controller.error(error)
          })
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.end(),
        abort: (reason) => this.reset(abortError(reason, this.name)),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: WRITE_AHEAD_BYTES }),
    )
    return this.#writable
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (this.kind === ChannelKind.DATAGRAMS) {
      this.sendDatagram(chunk)
      return
    }
    if (this.kind !== ChannelKind.BYTES) this.#checkMessage(chunk)
    const pieceBytes = this.kind === ChannelKind.BYTES ? STREAM_PIECE_BYTES : Math.max(1, chunk.length)
    let start = 0
    do {
      const piece = chunk.slice(start, start + pieceBytes)
      start += pieceBytes
      if (piece.length > 0 || this.kind !== ChannelKind.BYTES) this.#machine.push(piece)
      await new Promise<void>((resolve) => this.#machine.outbox.whenRoom(resolve))
    } while (start < chunk.length)
  }

  #checkMessage(bytes: Uint8Array): void {
    if (this.kind === ChannelKind.BYTES) {
      throw invalidArgument('A channel of bytes keeps no message boundaries: use writable')
    }
    if (this.kind === ChannelKind.DATAGRAMS) throw invalidArgument('A channel of datagrams carries no messages')
    const { maxMessageBytes } = this.#machine.limits
    if (bytes.length > maxMessageBytes) throw tooLarge('A message', 'max_message_bytes', maxMessageBytes, bytes)
  }
}

/** What a writable takes before it asks its writer to wait: one full frame. */
const WRITE_AHEAD_BYTES = 16_000

/** Chunks are copied in pieces of a full frame, so that a piece's memory is let go when it is acknowledged. */
const STREAM_PIECE_BYTES = 16_000

function tooLarge(what: string, limit: string, limitValue: number, { length: value }: Uint8Array): MeshError {
  const message = `${what} has ${value} bytes, at most ${limitValue}`
  return new MeshError(ErrorReason.MESSAGE_TOO_LARGE, message, { limit, limitValue, value })
}

function invalidArgument(message: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, message)
}

function abortError(reason: unknown, name: string): MeshError {
  return reason === undefined ? channelClosed(name) : MeshError.from(reason)
}
