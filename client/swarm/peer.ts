import { type Clock, ErrorReason, equalBytes, formatPeerId, MeshError, type VerifiedRecord } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { advise, type Diagnosis } from '../connection/diagnosis.ts'
import type { PeerConnection } from '../connection/peer-connection.ts'
import { abortError } from '../delay.ts'
import type { LinkChannel } from '../link/index.ts'
import { Channel } from './channel.ts'
import { encodeMessage, type Message, type MessageData, receivedMessage } from './message.ts'

export interface SendOptions {
  /** Gives up. A message whose first byte has left may still arrive. */
  readonly signal?: AbortSignal
}

export interface RequestOptions extends SendOptions {
  /** How long to wait for the answer; default 30,000. */
  readonly timeoutMs?: number
}

export interface OpenChannelOptions extends SendOptions {
  /** 'bytes' (default) does not keep boundaries; 'messages' does, up to 16 MiB each. */
  readonly kind?: 'bytes' | 'messages'
}

/** What a peer needs from its swarm. */
export interface PeerContext {
  readonly topic: Uint8Array
  readonly clock: Clock
  readonly dropped: Diagnosis['dropped']
}

/** How long a message waits for a link before it is given up. */
const LINK_WAIT_MS = 15_000
const REQUEST_TIMEOUT_MS = 30_000
const MAX_WAITING = 1_024

/** Another member of the swarm, admitted by its key. The same object for as long as it stays. */
export class Peer {
  /** Text form of the key, for people and for `send({ to })`. */
  readonly id: string
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array
  readonly #context: PeerContext
  #record: VerifiedRecord
  #connection: PeerConnection | undefined
  #attached = false
  #lastPath: Peer['path'] = 'none'
  #gone: MeshError | undefined
  #messages: LinkChannel | undefined
  /** Calls that wait for a link, in order. */
  readonly #waiting = new Set<() => void>()

  /** Peers are made by their swarm. */
  constructor(context: PeerContext, record: VerifiedRecord) {
    this.#context = context
    this.#record = record
    this.key = record.record.peerKey
    this.id = formatPeerId(this.key)
  }

  /** What the peer says about itself (MembershipRecord.state), at most 1 KiB; signed by it, readable by servers. */
  get state(): Uint8Array {
    return this.#record.record.state
  }

  /** How messages travel now: through the server, directly, or not at all. */
  get path(): 'none' | 'relay' | 'direct' {
    return (this.#attached && this.#connection?.path) || 'none'
  }

  get connection(): 'idle' | 'calling' | 'linked' {
    return this.#connection?.state ?? 'idle'
  }

  /** Smoothed round-trip time of the path in use, in milliseconds. */
  get rttMs(): number | undefined {
    return this.#connection?.linked?.link.rttMs
  }

  /**
   * Sends one message, up to 16 MiB. Resolves when the peer's SDK has it, in order; messages of one sender never overtake
   * each other. Rejects with MESSAGE_TOO_LARGE, PEER_LEFT, ABORTED, LINK_TIMEOUT (no link within 15 s), or LINK_CLOSED when the
   * link ended first: then it is not known whether the message arrived.
   */
  async send(data: MessageData, options: SendOptions = {}): Promise<void> {
    const bytes = encodeMessage(data)
    await this.#whenAttached(options.signal, () => this.#messageChannel().sendMessage(bytes, options))
  }

  /**
   * Asks and waits for the answer of the peer's `onRequest` handler. Rejects as `send` does, with DEADLINE_EXCEEDED after
   * `timeoutMs`, or with REQUEST_FAILED (or the reason the handler gave) when the handler failed or there is none.
   */
  async request(data: MessageData, options: RequestOptions = {}): Promise<Message> {
    const timeoutMs = options.timeoutMs ?? REQUEST_TIMEOUT_MS
    const deadline = new AbortController()
    const timer = this.#context.clock.schedule(timeoutMs, () => {
      const message = `no answer within ${timeoutMs} ms`
      deadline.abort(new MeshError(ErrorReason.DEADLINE_EXCEEDED, message, { retryable: true }))
    })
    const signal = options.signal ? AbortSignal.any([options.signal, deadline.signal]) : deadline.signal
    try {
      const bytes = encodeMessage(data)
      return await this.#whenAttached(signal, () => this.#exchange(bytes, signal))
    } finally {
      timer.cancel()
    }
  }

  /** Opens a named channel. Rejects like `send` when there is no link; data may be written at once. */
  async open(name: string, options: OpenChannelOptions = {}): Promise<Channel> {
    const kind = options.kind === 'messages' ? ChannelKind.MESSAGES : ChannelKind.BYTES
    if (name === '' && kind === ChannelKind.MESSAGES) {
      throw new MeshError(
        ErrorReason.INVALID_ARGUMENT,
        'a message channel needs a name: the unnamed one carries send()',
      )
    }
    const { topic } = this.#context
    return this.#whenAttached(
      options.signal,
      () => new Channel(this, this.#linked().openChannel({ topic, name, kind })),
    )
  }

  /** What the connection to this peer is doing, and what to do about what fails. */
  async diagnose(): Promise<Diagnosis> {
    const connection = this.#connection
    const linked = connection?.linked
    const errors = [connection?.lastError, linked?.direct.lastError, linked?.relayError, this.#gone]
    return {
      connection: this.connection,
      path: this.path,
      rttMs: this.rttMs,
      direct: {
        state: linked?.direct.state ?? 'off',
        attempts: linked?.direct.tries ?? 0,
        candidates: { ...(linked?.direct.candidates ?? { local: 0, remote: 0 }) },
        error: linked?.direct.lastError,
      },
      error: connection?.lastError ?? this.#gone,
      packets: { ...(linked?.counts ?? { sent: 0, received: 0, replayed: 0, rejected: 0 }) },
      dropped: { ...this.#context.dropped },
      advice: advise(errors),
    }
  }

  /** @internal The swarm's view of this peer changed. True when its state or session did; refreshing a record is no news. */
  update(change: { record?: VerifiedRecord; connection?: PeerConnection; attached?: boolean }): boolean {
    const { record: before } = this.#record
    if (change.record && change.record.record.seq > before.seq) this.#record = change.record
    if (change.connection) this.#connection = change.connection
    if (change.attached !== undefined && change.attached !== this.#attached) {
      this.#attached = change.attached
      this.#messages = undefined
      if (change.attached) this.#wake()
    }
    const { record } = this.#record
    return !equalBytes(record.state, before.state) || !equalBytes(record.sessionId, before.sessionId)
  }

  /** @internal The peer left: whatever waits fails. */
  leave(error: MeshError): void {
    this.#gone = error
    this.#attached = false
    this.#wake()
  }

  /** @internal True when the path is another one than at the last call. */
  pathChanged(): boolean {
    const path = this.path
    const changed = path !== this.#lastPath
    this.#lastPath = path
    return changed
  }

  /** @internal True while channels can be opened. */
  get attached(): boolean {
    return this.#attached
  }

  async #exchange(bytes: Uint8Array, signal: AbortSignal): Promise<Message> {
    const channel = this.#linked().openChannel({ topic: this.#context.topic, name: '', kind: ChannelKind.REQUEST })
    try {
      const sent = channel.sendMessage(bytes, { signal })
      const answer = await Promise.race([sent.then(() => channel.receiveMessage({ signal })), failure(channel)])
      if (answer === undefined)
        throw new MeshError(ErrorReason.REQUEST_FAILED, 'the peer ended the request without an answer')
      return receivedMessage(this, answer)
    } catch (error) {
      channel.reset(MeshError.from(error))
      throw signal.aborted ? abortError(signal) : error
    }
  }

  #messageChannel(): LinkChannel {
    if (this.#messages?.state === 'open') return this.#messages
    this.#messages = this.#linked().openChannel({ topic: this.#context.topic, name: '', kind: ChannelKind.MESSAGES })
    return this.#messages
  }

  #linked(): PeerConnection {
    if (this.#attached && this.#connection) return this.#connection
    throw new MeshError(ErrorReason.LINK_CLOSED, `there is no link to ${this.id}`, { retryable: true })
  }

  /**
   * Runs `use` when the peer is attached: at once, or as soon as it is, in the order of the calls and before any later one,
   * so that messages do not overtake each other.
   */
  #whenAttached<T>(signal: AbortSignal | undefined, use: () => T | Promise<T>): Promise<T> {
    // An async function runs to its first await at once, and turns what is thrown into a rejection.
    if (this.#attached) return (async () => use())()
    if (this.#gone) return Promise.reject(this.#gone)
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(tooManyWait(this.id))
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal))
      const settle = (outcome: () => T | Promise<T>) => {
        this.#waiting.delete(attempt)
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        ;(async () => outcome())().then(resolve, reject)
      }
      const attempt = () => {
        if (this.#attached) settle(use)
        else if (this.#gone) settle(() => Promise.reject(this.#gone))
      }
      const onAbort = () => settle(() => Promise.reject(abortError(signal as AbortSignal)))
      const timer = this.#context.clock.schedule(LINK_WAIT_MS, () => settle(() => Promise.reject(this.#noLink())))
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(attempt)
    })
  }

  #noLink(): MeshError {
    const message = `no link to ${this.id} within ${LINK_WAIT_MS} ms`
    return this.#connection?.lastError ?? new MeshError(ErrorReason.LINK_TIMEOUT, message, { retryable: true })
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

/** Rejects when the other side resets the channel. */
async function failure(channel: LinkChannel): Promise<never> {
  const error = await channel.closed
  if (error) throw error
  return new Promise<never>(() => {})
}

function tooManyWait(id: string): MeshError {
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, `${MAX_WAITING} messages wait for a link to ${id} already`, {
    limit: 'waiting_messages',
    limitValue: MAX_WAITING,
    retryable: true,
  })
}
