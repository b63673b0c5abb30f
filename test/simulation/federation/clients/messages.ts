import type { ByteKey } from '../../../../server/byte-key.ts'
import type { EnvelopeOutcome } from '../../../../server/router/outcome.ts'
import type { SimProcess } from '../servers/sim-process.ts'

/** One message of a client, and what became of it. */
export interface SentMessage {
  readonly id: ByteKey
  readonly from: number
  readonly to: number
  readonly process: SimProcess
  readonly sentMs: number
  readonly ttlMs: number
  /** Sent after the faults had stopped and everything was known everywhere. */
  readonly inPeace: boolean
  resolvedMs: number | undefined
  outcome: EnvelopeOutcome | undefined
}

/** Every message of a run. */
export class Messages {
  readonly sent: SentMessage[] = []
  readonly #byId = new Map<ByteKey, SentMessage[]>()
  /** Messages that no outcome is known of. */
  readonly open = new Set<SentMessage>()
  /** Where each was read: index of the client, and how often by session of one process. */
  readonly #read = new Map<ByteKey, { readonly by: number; readonly at: SimProcess }[]>()
  /** In the queue of a session that ended, or on a stream nobody read any more. */
  readonly #unread = new Set<ByteKey>()
  delivered = 0
  held = 0
  refused = 0

  add(message: SentMessage): void {
    this.sent.push(message)
    this.open.add(message)
    const same = this.#byId.get(message.id)
    if (same === undefined) this.#byId.set(message.id, [message])
    else same.push(message)
  }

  /** Who a message is for; undefined when nobody sent it. */
  recipientOf(id: ByteKey): number | undefined {
    return this.#byId.get(id)?.[0]?.to
  }

  /** Whether a client sent the message at this server. */
  sentAt(id: ByteKey, server: number): boolean {
    return this.#byId.get(id)?.some(({ process }) => process.index === server) === true
  }

  /** Returns false when a client read the message twice at one process. */
  read(id: ByteKey, by: number, at: SimProcess): boolean {
    const reads = this.#read.get(id)
    if (reads === undefined) {
      this.#read.set(id, [{ by, at }])
      return true
    }
    const again = reads.some((read) => read.by === by && read.at === at)
    reads.push({ by, at })
    return !again
  }

  lost(id: ByteKey): void {
    this.#unread.add(id)
  }

  readsOf(id: ByteKey): readonly { readonly by: number; readonly at: SimProcess }[] {
    return this.#read.get(id) ?? []
  }

  /** Whether the message got to a session of its recipient, even if that client was never to read it. */
  arrived(message: SentMessage): boolean {
    return this.#unread.has(message.id) || this.readsOf(message.id).some(({ by }) => by === message.to)
  }
}
