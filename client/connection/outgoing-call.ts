import { type Clock, equalBytes, type Timer, type VerifiedRecord } from '@mesh/core'
import type { Packet, Signal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { type HandshakeSelf, type SealedPayload, sealTo } from './handshake.ts'
import { lists, type TopicHandle } from './topic-handle.ts'

/**
 * The lower key's side of a handshake: one Hello, sealed once and sent again until it is answered. The same bytes each time,
 * because the link keys come from that seal; the other side answers a repetition with the reply it has.
 */
export interface OutgoingCallOptions {
  readonly clock: Clock
  readonly handle: TopicHandle
  readonly self: HandshakeSelf
  /** Who is called: the seal is for the session in this record. */
  readonly remote: VerifiedRecord
  readonly connectionId: Uint8Array
  /** The connection whose keys this call replaces; empty for a new link. */
  readonly previousConnectionId: Uint8Array
  readonly seq: bigint
  readonly send: (payload: Uint8Array) => void
  readonly onTimeout: () => void
}

export const CALL_TIMEOUT_MS = 10_000
const REPEAT_MS = 2_000
/** Batches of packets that overtook the HelloReply; the link sends again what is dropped. */
const MAX_EARLY_BATCHES = 16

export interface EarlyPackets {
  readonly connectionId: Uint8Array
  readonly packets: readonly Packet[]
}

export class OutgoingCall {
  readonly early: EarlyPackets[] = []
  readonly #options: OutgoingCallOptions
  readonly #startedAtMs: number
  #sealed: SealedPayload | undefined
  #timer: Timer | undefined
  #ended = false

  constructor(options: OutgoingCallOptions) {
    this.#options = options
    this.#startedAtMs = options.clock.monotonicMs()
  }

  get handle(): TopicHandle {
    return this.#options.handle
  }

  get connectionId(): Uint8Array {
    return this.#options.connectionId
  }

  get self(): HandshakeSelf {
    return this.#options.self
  }

  /** Exporter secret of the Hello; undefined before it is sealed. */
  get exported(): Uint8Array | undefined {
    return this.#sealed?.exported
  }

  /** Seals and sends. Rejects when sealing fails. */
  async start(): Promise<void> {
    const { self, remote, seq, connectionId, previousConnectionId } = this.#options
    const body: Signal['body'] = {
      case: 'hello',
      value: { $typeName: 'mesh.peer.v1.Hello', record: self.record, previousConnectionId },
    }
    this.#sealed = await sealTo(self, remote, seq, connectionId, body)
    this.#repeat()
  }

  isFor(connectionId: Uint8Array): boolean {
    return equalBytes(this.#options.connectionId, connectionId)
  }

  /** True when the call is sealed to a session that is not in the record, nor listed any more: it cannot be opened. */
  isStaleFor({ record }: VerifiedRecord): boolean {
    const { handle, remote } = this.#options
    return !equalBytes(remote.record.sessionId, record.sessionId) && !lists(handle, remote.record)
  }

  hold(early: EarlyPackets): void {
    if (this.early.length < MAX_EARLY_BATCHES) this.early.push(early)
  }

  /** Stops repeating. Idempotent. */
  end(): void {
    this.#ended = true
    this.#timer?.cancel()
  }

  #repeat(): void {
    const { clock, send, onTimeout } = this.#options
    if (this.#ended || !this.#sealed) return
    if (clock.monotonicMs() - this.#startedAtMs >= CALL_TIMEOUT_MS) return onTimeout()
    this.#timer = clock.schedule(REPEAT_MS, () => this.#repeat())
    send(this.#sealed.payload)
  }
}
