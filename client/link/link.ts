import { create } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import {
  type Frame,
  FrameSchema,
  GoodbyeSchema,
  type PacketBody,
  PacketBodySchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { ChannelTable, type OpenChannelOptions } from './channel/channel-table.ts'
import type { LinkChannel } from './channel/link-channel.ts'
import { Drain } from './drain.ts'
import { ACK_BYTES, frameBytes } from './frame-size.ts'
import type { ControlFrame, LinkEffects, LinkStats } from './link-effects.ts'
import { DEFAULT_LINK_LIMITS, type LinkLimits } from './link-limits.ts'
import { LinkTimer } from './link-timer.ts'
import { Liveness } from './liveness.ts'
import type { Outgoing } from './outgoing.ts'
import { type PathName, PathState } from './path-state.ts'
import { Receiving } from './receiving.ts'
import { earliest } from './recovery.ts'
import { Scheduler } from './scheduler.ts'
import { Sending } from './sending.ts'

// The link: an ordered, exactly-once sequence of frames between two peers, over paths that come and go.
//
//  1. Everything to be sent is queued (scheduler, channels). At the end of the turn `#flush` makes packets of it for
//     the path in use: direct when it is usable, else relay, else none.
//  2. Packets come in by `receive`: acknowledgements first, then frames, put in order by the receive window and handed
//     to the channels and to the connection.
//  3. One timer serves everything that waits for time: acknowledgements, timeouts, pings.
//  4. When the path changes, everything unacknowledged goes again on the new one; the other side drops what it has.
//
// Pure: no I/O, no cryptography. What it does is in LinkEffects, time is in the Clock.

export interface LinkOptions {
  clock: Clock
  /** `lower`: this side's peer key is bytewise lower. */
  role: 'lower' | 'higher'
  effects: LinkEffects
  limits?: Partial<LinkLimits> | undefined
  /** Runs a function at the end of the turn, when packets are made. Default `queueMicrotask`. */
  defer?: ((run: () => void) => void) | undefined
}

export class Link {
  readonly #clock: Clock
  readonly #effects: LinkEffects
  readonly #limits: LinkLimits
  readonly #defer: (run: () => void) => void
  readonly #paths: Readonly<Record<PathName, PathState>> = {
    relay: new PathState('relay'),
    direct: new PathState('direct'),
  }
  readonly #pathList: readonly PathState[] = [this.#paths.relay, this.#paths.direct]
  readonly #scheduler: Scheduler
  readonly #sending: Sending
  readonly #receiving: Receiving
  readonly #liveness: Liveness
  readonly #timer: LinkTimer
  readonly #channels: ChannelTable
  readonly #drain = new Drain()
  /** The path that carries data. */
  #active: PathState | undefined
  #closed = false
  #flushing = false
  #flushQueued = false
  readonly #counts = {
    packetsSent: 0,
    packetsReceived: 0,
    framesSent: 0,
    pathChanges: 0,
  }

  constructor(options: LinkOptions) {
    this.#clock = options.clock
    this.#effects = options.effects
    this.#limits = { ...DEFAULT_LINK_LIMITS, ...options.limits }
    this.#defer = options.defer ?? ((run) => queueMicrotask(run))
    this.#scheduler = new Scheduler(this.#limits.maxUrgentFrames)
    this.#receiving = new Receiving(this.#limits, {
      reliable: (body) => this.#receiveReliable(body),
      unreliable: (path, body, nowMs) => this.#receiveUnreliable(path, body, nowMs),
      closed: () => this.#closed,
    })
    this.#sending = new Sending(this.#limits, this.#scheduler)
    this.#liveness = new Liveness(this.#limits)
    this.#timer = new LinkTimer(options.clock, () => this.#onTimer())
    this.#channels = new ChannelTable({
      role: options.role,
      limits: this.#limits,
      scheduler: this.#scheduler,
      wake: () => this.#wake(),
      sendUrgent: (outgoing) => this.#sendUrgent(outgoing),
      opened: (channel) => this.#effects.channel(channel),
    })
  }

  /** The path that carries data now. */
  get path(): PathName | undefined {
    return this.#active?.name
  }
  /** Round-trip time of that path in milliseconds, smoothed; undefined until measured. */
  get rttMs(): number | undefined {
    return this.#active?.rttMs
  }
  get state(): 'open' | 'closed' {
    return this.#closed ? 'closed' : 'open'
  }
  get stats(): LinkStats {
    const { outstandingFrames, outstandingBytes, inFlightBytes, repeatedFrames } = this.#sending.window
    const { framesReceived, duplicatesReceived, overflowsReceived } = this.#receiving
    const { heldFrames, heldBytes } = this.#receiving.window
    return {
      ...this.#counts,
      framesReceived,
      duplicatesReceived,
      overflowsReceived,
      framesRepeated: repeatedFrames,
      timeouts: this.#sending.timeouts,
      outstandingFrames,
      outstandingBytes,
      inFlightBytes,
      queuedBytes: this.#channels.queuedBytes,
      heldFrames,
      heldBytes,
      openChannels: this.#channels.size,
    }
  }

  /**
   * Says whether packets can go by a path. Idempotent. Direct is preferred; when the path in use changes, everything
   * unacknowledged is sent again. A path that becomes usable starts afresh: not full, and heard just now.
   */
  setPath(name: PathName, { usable }: { usable: boolean }): void {
    const path = this.#paths[name]
    if (this.#closed || path.usable === usable) return
    path.usable = usable
    path.blocked = false
    const nowMs = this.#clock.monotonicMs()
    this.#liveness.watch(path, usable && name === 'direct', nowMs)
    this.#selectPath(nowMs)
    this.#wake()
  }

  /** The path takes packets again, after `transmit` returned false. */
  pathReady(name: PathName): void {
    this.#paths[name].blocked = false
    this.#wake()
  }

  /**
   * Takes a decrypted packet, which belongs to the link from now on. Never throws: a body that breaks the protocol
   * closes the link with FRAME_INVALID.
   */
  receive(name: PathName, body: PacketBody): void {
    if (this.#closed) return
    const path = this.#paths[name]
    const nowMs = this.#clock.monotonicMs()
    this.#counts.packetsReceived += 1
    this.#liveness.heard(path, nowMs)
    try {
      this.#sending.acknowledge(body, path, this.#active, nowMs)
      this.#receiving.receive(path, body.frames, nowMs)
    } catch (error) {
      this.close(MeshError.from(error))
    }
    this.#wake()
  }

  /**
   * Measures the round trip of a path, which need not be usable yet. Resolves with milliseconds.
   * @throws MeshError LINK_TIMEOUT after `pingTimeoutMs`, or when more than 8 wait; the link's error
   */
  ping(name: PathName): Promise<number> {
    if (this.#closed) return Promise.reject(linkClosed())
    this.#wake()
    return this.#liveness.ping(this.#paths[name], this.#clock.monotonicMs())
  }

  /**
   * Sends a frame of the connection, before all data. A detach ends the topic's channels on this side.
   * Resolves when it was acknowledged; the promise may be ignored.
   * @throws MeshError INVALID_ARGUMENT when the frame is too large for a packet; the link's error
   */
  sendControl(body: ControlFrame): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      if (this.#closed) throw linkClosed()
      const frame = create(FrameSchema, { body })
      const bytes = frameBytes(frame)
      const maxBytes = this.#limits.maxBodyBytes - ACK_BYTES
      if (bytes > maxBytes) {
        throw new MeshError(ErrorReason.INVALID_ARGUMENT, `A frame has ${bytes} bytes, at most ${maxBytes}`)
      }
      if (body.case === 'detach') this.#channels.detach(body.value.topic)
      this.#sendUrgent({ frame, bytes, settlement: { acknowledged: resolve, failed: reject } })
    })
    // Most callers learn of a failure from `closed`; theirs must not become an unhandled rejection.
    sent.catch(() => undefined)
    return sent
  }

  /**
   * Opens a channel; it can be used at once.
   * @throws MeshError LINK_CLOSED; INVALID_ARGUMENT; LIMIT_EXCEEDED when 256 are open
   */
  openChannel(options: OpenChannelOptions): LinkChannel {
    if (this.#closed) throw linkClosed()
    return this.#channels.open(options)
  }

  /**
   * Resolves when nothing is queued or unacknowledged: what was sent before is delivered.
   * @throws MeshError ABORTED; the link's error
   */
  drained({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#closed) return Promise.reject(linkClosed())
    if (!this.#sending.waiting && this.#channels.idle) return Promise.resolve()
    return this.#drain.wait(signal)
  }

  /** Closes at once: Goodbye by every usable path, and everything that waits fails. Default LINK_CLOSED. Idempotent. */
  close(error: MeshError = linkClosed()): void {
    if (this.#closed) return
    const goodbye = create(FrameSchema, {
      body: { case: 'goodbye', value: create(GoodbyeSchema, { error: error.toDetail() }) },
    })
    for (const path of this.#pathList) if (path.usable) this.#transmit(path, [goodbye])
    this.#finish(error, 'local')
  }

  #finish(error: MeshError, by: 'local' | 'remote'): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer.cancel()
    const undeliveredBytes = this.#sending.window.outstandingBytes + this.#channels.queuedBytes
    const undeliveredFrames = this.#sending.fail(error)
    this.#receiving.window.clear()
    this.#channels.fail(error)
    for (const path of this.#pathList) path.failPings(Number.POSITIVE_INFINITY, () => error)
    this.#drain.fail(error)
    this.#effects.closed(error, { by, undeliveredFrames, undeliveredBytes })
  }

  #receiveUnreliable(path: PathState, body: Frame['body'], nowMs: number): void {
    if (body.case === 'ping') path.pushPong(body.value.id)
    else if (body.case === 'pong') path.pong(body.value.id, nowMs)
    else if (body.case === 'goodbye') {
      const { error } = body.value
      this.#finish(error === undefined ? linkClosed() : MeshError.fromDetail(error), 'remote')
    }
  }

  #receiveReliable(body: Frame['body']): void {
    switch (body.case) {
      case 'open':
      case 'data':
      case 'credit':
      case 'end':
      case 'reset':
        return this.#channels.receive(body)
      case 'detach':
        this.#channels.detach(body.value.topic)
        return this.#effects.control(body)
      case 'attach':
      case 'rtc':
        return this.#effects.control(body)
    }
    // Any other reliable frame is one that a newer version knows. It has its place in the order, and nothing else here.
  }

  #sendUrgent(outgoing: Outgoing): void {
    if (this.#scheduler.pushUrgent(outgoing)) return this.#wake()
    const error = new MeshError(ErrorReason.LIMIT_EXCEEDED, 'Too many control frames wait to be sent', {
      limit: 'max_urgent_frames',
      limitValue: this.#limits.maxUrgentFrames,
    })
    outgoing.settlement?.failed(error)
    this.close(error)
  }

  #selectPath(nowMs: number): void {
    const { relay, direct } = this.#paths
    const next = direct.usable ? direct : relay.usable ? relay : undefined
    if (next === this.#active) return
    this.#active = next
    this.#counts.pathChanges += 1
    this.#sending.pathChanged(nowMs)
    // What was acknowledged on the old path may have been lost with it.
    if (this.#receiving.window.inOrder > 0) this.#receiving.acknowledger.hurry(nowMs)
    this.#effects.pathChanged?.(next?.name)
  }

  #wake(): void {
    if (this.#flushQueued || this.#closed) return
    this.#flushQueued = true
    this.#defer(() => {
      this.#flushQueued = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#closed || this.#flushing) return
    this.#flushing = true
    const nowMs = this.#clock.monotonicMs()
    this.#sendFrames(nowMs)
    for (const path of this.#pathList) this.#sendPings(path)
    const ackDueMs = this.#receiving.acknowledger.dueMs
    const path = this.#active
    if (path !== undefined && !path.blocked && ackDueMs !== undefined && ackDueMs <= nowMs) this.#transmit(path, [])
    this.#flushing = false
    if (this.#closed) return
    const { waiting, recovery } = this.#sending
    const idle = !waiting && this.#channels.idle
    recovery.update(waiting || (!idle && this.#active === undefined), this.#active, nowMs)
    const { relay } = this.#paths
    this.#liveness.watch(relay, !waiting && !idle && this.#active === relay, nowMs)
    if (idle && this.#drain.waiting) this.#drain.done()
    this.#setTimer(nowMs)
  }

  #sendFrames(nowMs: number): void {
    while (this.#active !== undefined && !this.#active.blocked && !this.#closed) {
      const frames = this.#sending.nextFrames(this.#active, nowMs)
      if (frames.length === 0) return
      this.#transmit(this.#active, frames)
    }
  }

  /** Pings and Pongs have to go by the path they are about, used or not, full or not. */
  #sendPings(path: PathState): void {
    const frames = this.#sending.pingFrames(path)
    if (frames.length > 0) this.#transmit(path, frames)
  }

  #transmit(path: PathState, frames: Frame[]): void {
    this.#counts.packetsSent += 1
    this.#counts.framesSent += frames.length
    const body = create(PacketBodySchema, {
      ack: BigInt(this.#receiving.window.inOrder),
      ranges: this.#receiving.window.ranges(),
      frames,
    })
    // By the path in use only: another one may not carry it.
    if (path === this.#active) this.#receiving.acknowledger.sent()
    if (this.#effects.transmit(path.name, body) === false) path.blocked = true
  }

  #onTimer(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const path of this.#pathList) {
      if (this.#liveness.check(path, nowMs) === 'dead') this.#dead(path)
    }
    if (this.#sending.check(this.#active, nowMs) === 'dead') this.#dead(this.#active)
    this.#flush()
  }

  #dead(path: PathState | undefined): void {
    if (path?.name === 'direct') {
      this.setPath('direct', { usable: false })
      const error = new MeshError(ErrorReason.LINK_TIMEOUT, `Nothing came through for ${this.#limits.directDeadMs} ms`)
      this.#effects.pathDead('direct', error)
      return
    }
    const where = path === undefined ? 'There was no path to the other side' : 'Nothing came through the relay path'
    this.close(new MeshError(ErrorReason.LINK_TIMEOUT, `${where} while something waited`))
  }

  #setTimer(nowMs: number): void {
    const path = this.#active
    let dueMs = this.#sending.recovery.dueMs(path)
    if (path !== undefined && !path.blocked) dueMs = earliest(dueMs, this.#receiving.acknowledger.dueMs)
    for (const each of this.#pathList) dueMs = earliest(dueMs, this.#liveness.dueMs(each))
    this.#timer.set(dueMs, nowMs)
  }
}

function linkClosed(): MeshError {
  return new MeshError(ErrorReason.LINK_CLOSED, 'The link is closed')
}
