import { create } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import { Channel, type Frame, FrameSchema, type Goaway } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import type { ByteKey } from '../../../byte-key.ts'
import { limitError } from '../../../limits/server-limits.ts'
import type { FederationChannel } from '../channel.ts'
import { FrameInbox } from './frame-inbox.ts'
import { FrameOutlet } from './frame-outlet.ts'
import { acceptHandshake, dialHandshake, type HandshakeOptions, type Opened } from './handshake.ts'
import type { ServerQuota } from './quota.ts'
import type { StreamEvents, TrunkStream } from './trunk.ts'

export interface NodeSessionOptions extends HandshakeOptions {
  readonly clock: Clock
  /** Where a proven stream's frames go to and come from. */
  readonly channelOf: (channel: Channel) => FederationChannel
  readonly quotaOf: (server: ByteKey) => ServerQuota
  /** Both proofs were accepted. What came since is delivered after this returned, unless it ended the session. */
  readonly onOpen: (session: NodeSession, opened: Opened) => void
  /**
   * The session is over. Called once; `error` is undefined for a quiet end. `by` tells who ended it: this server, which says
   * what the other did wrong, or the other one, or the line between them.
   */
  readonly onEnd: (session: NodeSession, error: MeshError | undefined, by: 'here' | 'there') => void
}

/** Which part this server plays: the dialler knows whom it called, the other decides whom it lets in. */
export type NodeRole =
  | { readonly kind: 'dialler'; readonly serverKey: Uint8Array; readonly channel: Channel }
  | { readonly kind: 'acceptor'; readonly admit: (server: ByteKey) => MeshError | undefined }

type State =
  | { readonly kind: 'opening'; readonly inbox: FrameInbox; readonly deadline: Timer }
  | { readonly kind: 'open'; readonly opened: Opened; readonly outlet: FrameOutlet; readonly quota: ServerQuota }
  | { readonly kind: 'ended' }

/** Frames that belong on a channel; any other is refused there. */
const FRAMES_OF: ReadonlyMap<Channel, readonly string[]> = new Map([
  [Channel.DIRECTORY, ['originState', 'rows', 'pull', 'interest']],
  [Channel.MESSAGES, ['envelopes', 'receipts']],
])

/** Hello and Proof. Whoever dialled may find what the other side sent right after its proof behind them. */
const HANDSHAKE_FRAMES = 2

/**
 * One Replicate stream, from its first frame to its last:
 *
 *  1. The handshake (`handshake.ts`), within `federation_handshake_ms`.
 *  2. Frames of its channel both ways. What comes is counted against the credit this side gave and the rates it allows;
 *     credit is given anew when half of it is used up. What goes is the outlet's business (`frame-outlet.ts`).
 *  3. The end: whoever ends it says why in a Goaway.
 */
export class NodeSession implements StreamEvents {
  readonly role: NodeRole
  readonly #options: NodeSessionOptions
  #stream: TrunkStream | undefined
  #state: State
  #opened: Opened | undefined
  /** Frames the other side may still send. */
  #granted: number
  /** Why the other side is about to close the stream, and when at the latest. */
  #announced: { readonly error: MeshError | undefined; readonly deadline: Timer } | undefined

  constructor(role: NodeRole, options: NodeSessionOptions) {
    this.role = role
    this.#options = options
    const { federationCreditFrames, federationHandshakeMs } = options.limits
    this.#granted = federationCreditFrames
    const late = { limit: 'federation_handshake_ms', limitValue: federationHandshakeMs }
    this.#state = {
      kind: 'opening',
      inbox: new FrameInbox(HANDSHAKE_FRAMES + (role.kind === 'dialler' ? federationCreditFrames : 0)),
      deadline: options.clock.schedule(federationHandshakeMs, () => {
        this.end(new MeshError(ErrorReason.DEADLINE_EXCEEDED, 'the server did not prove itself in time', late))
      }),
    }
  }

  /** Begins, on the stream whose events come here. */
  start(stream: TrunkStream): void {
    this.#stream = stream
    void this.#shakeHands()
  }

  /** Who is at the other end, and for what; undefined until that is proven. Stays after the end. */
  get opened(): Opened | undefined {
    return this.#opened
  }

  get rttMs(): number | undefined {
    return this.#stream?.rttMs
  }

  /** The channel has something for the other side. */
  wake(): void {
    if (this.#state.kind === 'open') this.#state.outlet.wake()
  }

  /** Sends what is ready and may go, and ends. */
  drain(error: MeshError): void {
    if (this.#state.kind === 'open') this.#state.outlet.flush()
    this.end(error)
  }

  /** Tells the other side why, and closes the stream. Idempotent. Without an error it is a quiet end: nobody is to blame. */
  end(error?: MeshError): void {
    if (this.#state.kind === 'ended') return
    const value = error === undefined ? {} : { error: error.toDetail() }
    this.#stream?.write([create(FrameSchema, { frame: { case: 'goaway', value } })])
    this.#stream?.close(error)
    this.#finish(error, 'here')
  }

  onFrames(frames: readonly Frame[]): void {
    try {
      for (const frame of frames) this.#receive(frame)
      this.#replenish()
    } catch (thrown) {
      this.end(MeshError.from(thrown))
    }
  }

  onDrain(): void {
    const state = this.#state
    if (state.kind !== 'open') return
    state.outlet.drained()
    this.#replenish()
    state.outlet.flush()
  }

  onClose(error: MeshError | undefined): void {
    // Who calls has no status to send: what a transport has against a caller, it found by itself.
    const found = this.role.kind === 'acceptor' && error !== undefined && !error.retryable
    if (this.#announced !== undefined) this.#finish(this.#announced.error, 'there')
    else this.#finish(error ?? withoutGoaway(), found ? 'here' : 'there')
  }

  async #shakeHands(): Promise<void> {
    const { role } = this
    const state = this.#state
    const options = this.#options
    if (state.kind !== 'opening') return
    const line = {
      read: () => state.inbox.read(),
      write: (frame: Frame) => void this.#stream?.write([frame]),
    }
    try {
      const opened =
        role.kind === 'dialler'
          ? await dialHandshake(line, role, options)
          : await acceptHandshake(line, role.admit, options)
      this.#open(opened)
    } catch (thrown) {
      this.end(MeshError.from(thrown))
    }
  }

  #open(opened: Opened): void {
    const state = this.#state
    const stream = this.#stream
    if (state.kind !== 'opening' || stream === undefined) return
    const { clock, limits, channelOf, quotaOf, onOpen } = this.#options
    const { server } = opened.neighbour
    state.deadline.cancel()
    const channel = channelOf(opened.channel)
    const outlet = new FrameOutlet({
      stream,
      opened,
      clock,
      flushMs: limits.federationFlushMs,
      next: () => channel.next(server),
      onFailure: (error) => this.end(error),
    })
    this.#opened = opened
    this.#state = { kind: 'open', opened, outlet, quota: quotaOf(server) }
    stream.proven()
    onOpen(this, opened)
    this.onFrames(state.inbox.takeAll())
    outlet.flush()
  }

  #receive(frame: Frame): void {
    const state = this.#state
    const { frame: content } = frame
    if (state.kind === 'ended') return
    if (content.case === 'goaway') return this.#onGoaway(content.value)
    if (state.kind === 'opening') return state.inbox.push(frame)
    if (content.case === 'credit') return state.outlet.grant(content.value.frames)
    if (content.case === 'hello' || content.case === 'proof') {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `a second ${content.case} on a proven stream`)
    }
    const { federationCreditFrames } = this.#options.limits
    if (this.#granted === 0) {
      throw limitError('federationCreditFrames', federationCreditFrames, { value: federationCreditFrames + 1 })
    }
    this.#granted -= 1
    // A kind of frame newer than this code: counted, and left alone.
    if (content.case === undefined) return
    const { channel, neighbour } = state.opened
    if (FRAMES_OF.get(channel)?.includes(content.case) !== true) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `${content.case} on channel ${channel}`)
    }
    state.quota.take(frame)
    this.#options.channelOf(channel).receive(neighbour.server, frame)
  }

  /** Half is used up: the other side gets it back before it has to wait. One that does not read gets none. */
  #replenish(): void {
    const state = this.#state
    const { federationCreditFrames } = this.#options.limits
    const used = federationCreditFrames - this.#granted
    if (state.kind !== 'open' || state.outlet.isFull || used * 2 < federationCreditFrames) return
    this.#granted = federationCreditFrames
    state.outlet.write([create(FrameSchema, { frame: { case: 'credit', value: { frames: used } } })])
  }

  /** The other side closes the stream at its deadline, or sooner; this side does not wait much longer. */
  #onGoaway({ error: detail, deadlineMs }: Goaway): void {
    if (this.#announced !== undefined) return
    const { clock, limits } = this.#options
    const error = detail === undefined ? undefined : MeshError.fromDetail(detail)
    if (deadlineMs === 0 || this.#state.kind === 'opening') {
      this.#stream?.close()
      this.#finish(error, 'there')
      return
    }
    const deadline = clock.schedule(Math.min(deadlineMs, limits.federationMaxLeaseMs), () => {
      this.#stream?.close()
      this.#finish(error, 'there')
    })
    this.#announced = { error, deadline }
  }

  #finish(error: MeshError | undefined, by: 'here' | 'there'): void {
    const state = this.#state
    if (state.kind === 'ended') return
    this.#state = { kind: 'ended' }
    this.#announced?.deadline.cancel()
    if (state.kind === 'opening') {
      state.deadline.cancel()
      state.inbox.fail(error ?? withoutGoaway())
    } else {
      state.outlet.close()
    }
    this.#options.onEnd(this, error, by)
  }
}

function withoutGoaway(): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, 'the other side closed the stream without saying why')
}
