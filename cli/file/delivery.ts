import type { Peer, Swarm } from '@mesh/client'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import { FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { CommandError } from '../failure.ts'
import { FILE_CHANNEL, FileChannel } from './file-channel.ts'
import { type FileSource, offerFile, sendContent } from './send-file.ts'

/** How long a receiver's user may think about an offer. */
const ANSWER_TIMEOUT_MS = 120_000
/** Pause before an offer that was lost with its link is made again. */
const ASK_AGAIN_MS = 1_000

const REFUSALS: Partial<Record<FileVerdict, string>> = {
  [FileVerdict.DECLINED]: 'does not want the file',
  [FileVerdict.TOO_LARGE]: 'does not take files as large as this',
  [FileVerdict.BUSY]: 'is busy with another file',
}

const WHY_UNASKED: Partial<Record<ErrorReason, string>> = {
  [ErrorReason.ABORTED]: 'gave up',
  [ErrorReason.CHANNEL_CLOSED]: 'does not take files',
  [ErrorReason.NOT_SUPPORTED]: 'does not take files',
}

/** How the delivery to one peer goes. */
export type DeliveryEvent =
  | { readonly kind: 'offered'; readonly peer: Peer }
  | { readonly kind: 'accepted'; readonly peer: Peer }
  /** It said no, or could not be asked. */
  | { readonly kind: 'refused'; readonly peer: Peer; readonly why: string }
  | { readonly kind: 'progress'; readonly peer: Peer; readonly bytes: number }
  | { readonly kind: 'sent'; readonly peer: Peer; readonly sha256: Uint8Array }
  | { readonly kind: 'failed'; readonly peer: Peer; readonly error: unknown }

export interface DeliveryOptions {
  readonly swarm: Pick<Swarm, 'on' | 'peers'>
  readonly file: FileSource
  /** Peer ids of all receivers; empty for the one peer, whoever it is, that accepts first. */
  readonly to: readonly string[]
  readonly clock: Clock
  /** Gives up: what is running ends on both sides. */
  readonly signal: AbortSignal
  readonly onEvent: (event: DeliveryEvent) => void
}

/** `asked`: has an offer. `receiving`: accepted it. `done`: has the file, refused, or failed. */
type Stage = 'asked' | 'receiving' | 'done'

/**
 * Brings one file to one or several peers of a swarm, those included that join later.
 *
 * 1. Every peer that may receive is offered the file as soon as it is connected.
 * 2. Without a list of receivers the first to accept gets it, and the other offers are withdrawn. A peer of the list that
 *    refuses is done; the others go on.
 * 3. The delivery is over when nobody is left to ask and nobody receives any more.
 */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #wanted: Set<string>
  readonly #anybody: boolean
  readonly #stages = new Map<string, Stage>()
  readonly #noMoreOffers = new AbortController()
  readonly #over = Promise.withResolvers<void>()

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.#wanted = new Set(options.to)
    this.#anybody = options.to.length === 0
  }

  /** Peers of the list that have not answered. */
  get missing(): readonly string[] {
    return [...this.#wanted].filter((id) => !this.#answered(id))
  }

  /** Resolves when the delivery is over; how it went are events. Rejects with the signal's reason. */
  async run(): Promise<void> {
    const { swarm, signal } = this.#options
    signal.throwIfAborted()
    const stopListening = swarm.on('join', (peer) => this.#ask(peer))
    const onAbort = (): void => this.#over.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (const peer of swarm.peers.values()) this.#ask(peer)
      await this.#over.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      stopListening()
    }
  }

  /** Takes back every offer that nobody has accepted. Idempotent. */
  stopAsking(): void {
    this.#noMoreOffers.abort(new MeshError(ErrorReason.ABORTED, 'the offer was withdrawn'))
    this.#settle()
  }

  #ask(peer: Peer): void {
    if (this.#noMoreOffers.signal.aborted || this.#stages.has(peer.id)) return
    if (!this.#anybody && !this.#wanted.has(peer.id)) return
    this.#stages.set(peer.id, 'asked')
    void this.#deliver(peer)
  }

  async #deliver(peer: Peer): Promise<void> {
    const channel = await this.#offer(peer)
    if (channel === undefined) return
    const { file, signal, onEvent } = this.#options
    this.#stages.set(peer.id, 'receiving')
    if (this.#anybody) this.stopAsking()
    onEvent({ kind: 'accepted', peer })
    try {
      const onProgress = (bytes: number): void => onEvent({ kind: 'progress', peer, bytes })
      onEvent({ kind: 'sent', peer, sha256: await sendContent(channel, file, { signal, onProgress }) })
    } catch (error) {
      if (!signal.aborted) onEvent({ kind: 'failed', peer, error: whyItFailed(error) })
    }
    this.#finish(peer)
  }

  /** The channel of an offer that was accepted while it stood. */
  async #offer(peer: Peer): Promise<FileChannel | undefined> {
    const { file, clock, onEvent } = this.#options
    const signal = AbortSignal.any([this.#options.signal, this.#noMoreOffers.signal])
    let channel: FileChannel | undefined
    try {
      channel = new FileChannel(await peer.open(FILE_CHANNEL, { kind: 'messages', signal }), clock)
      onEvent({ kind: 'offered', peer })
      const verdict = await offerFile(channel, file, { timeoutMs: ANSWER_TIMEOUT_MS, signal })
      signal.throwIfAborted()
      if (verdict === FileVerdict.ACCEPTED) return channel
      channel.finish().catch(() => undefined) // a no needs no confirmation
      onEvent({ kind: 'refused', peer, why: REFUSALS[verdict] ?? 'refuses the file' })
      this.#finish(peer)
    } catch (error) {
      channel?.abort(error)
      if (!signal.aborted) this.#onUnasked(peer, MeshError.from(error))
    }
    return undefined
  }

  #onUnasked(peer: Peer, error: MeshError): void {
    if (!isLinkLoss(error)) {
      this.#options.onEvent({
        kind: 'refused',
        peer,
        why: WHY_UNASKED[error.reason] ?? `cannot be asked: ${error.message}`,
      })
      return this.#finish(peer)
    }
    this.#stages.delete(peer.id)
    this.#options.clock.schedule(ASK_AGAIN_MS, () => {
      if (this.#options.swarm.peers.has(peer.id)) this.#ask(peer)
    })
  }

  #finish(peer: Peer): void {
    this.#stages.set(peer.id, 'done')
    this.#settle()
  }

  #settle(): void {
    const asking = !this.#noMoreOffers.signal.aborted && (this.#anybody || this.missing.length > 0)
    const receiving = [...this.#stages.values()].includes('receiving')
    if (!asking && !receiving) this.#over.resolve()
  }

  #answered(id: string): boolean {
    const stage = this.#stages.get(id)
    return stage === 'receiving' || stage === 'done'
  }
}

function whyItFailed(error: unknown): unknown {
  const gaveUp = error instanceof MeshError && error.reason === ErrorReason.ABORTED
  return gaveUp ? new CommandError('ABORTED', 'the receiver gave up', { cause: error }) : error
}

/** The offer was lost with the link, and can be made again over the next one. */
function isLinkLoss({ reason }: MeshError): boolean {
  return LINK_LOSSES.has(reason)
}

const LINK_LOSSES: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.LINK_CLOSED,
  ErrorReason.LINK_TIMEOUT,
  ErrorReason.PEER_LEFT,
  ErrorReason.PEER_RESTARTED,
])
