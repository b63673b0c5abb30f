import { create } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import {
  type Frame,
  FrameSchema,
  GoodbyeSchema,
  type PacketBody,
  PacketBodySchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { Acknowledger } from './acknowledger.ts'
import { ChannelTable, type OpenChannelOptions } from './channel/channel-table.ts'
import type { LinkChannel } from './channel/link-channel.ts'
import { Drain } from './drain.ts'
import { checkFrame } from './frame-check.ts'
import { ACK_BYTES, frameBytes } from './frame-size.ts'
import type { ControlFrame, LinkEffects, LinkStats } from './link-effects.ts'
import { DEFAULT_LINK_LIMITS, type LinkLimits } from './link-limits.ts'
import type { Outgoing } from './outgoing.ts'
import { Packer } from './packer.ts'
import { type PathName, PathState } from './path-state.ts'
import { ReceiveWindow } from './receive-window.ts'
import { earliest, Recovery } from './recovery.ts'
import { retained } from './retained.ts'
import { Scheduler } from './scheduler.ts'
import { SendWindow } from './send-window.ts'

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
  readonly #sendWindow = new SendWindow()
  readonly #receiveWindow: ReceiveWindow
  readonly #acknowledger: Acknowledger
  readonly #recovery: Recovery
  readonly #packer: Packer
  readonly #channels: ChannelTable
  readonly #drain = new Drain()
  /** The path that carries data. */
  #active: PathState | undefined
  #closed = false
  #flushing = false
  #flushQueued = false
  #timer: Timer | undefined
  #timerDueMs = 0
  #pingId = 0n
  readonly #counts = {
    packetsSent: 0,
    packetsReceived: 0,
    framesSent: 0,
    framesReceived: 0,
    duplicatesReceived: 0,
    overflowsReceived: 0,
    timeouts: 0,
    pathChanges: 0,
  }

  constructor(options: LinkOptions) {
    this.#clock = options.clock
    this.#effects = options.effects
    this.#limits = { ...DEFAULT_LINK_LIMITS, ...options.limits }
    this.#defer = options.defer ?? queueMicrotask
    this.#scheduler = new Scheduler(this.#limits.maxUrgentFrames)
    this.#receiveWindow = new ReceiveWindow(this.#limits)
    this.#acknowledger = new Acknowledger(this.#limits)
    this.#recovery = new Recovery(this.#limits)
    this.#packer = new Packer({ limits: this.#limits, window: this.#sendWindow, scheduler: this.#scheduler })
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
    const { outstandingFrames, outstandingBytes, inFlightBytes, repeatedFrames } = this.#sendWindow
    const { heldFrames, heldBytes } = this.#receiveWindow
    return {
      ...this.#counts,
      framesRepeated: repeatedFrames,
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
    path.unansweredPings = 0
    path.pingDueMs = usable && name === 'direct' ? nowMs + this.#limits.pingMs : undefined
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
    path.unansweredPings = 0
    if (path.pingDueMs !== undefined) path.pingDueMs = nowMs + this.#limits.pingMs
    try {
      this.#receiveAck(path, body, nowMs)
      this.#receiveFrames(path, body.frames, nowMs)
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
    return new Promise((resolve, reject) => {
      if (this.#closed) throw linkClosed()
      const sentAtMs = this.#clock.monotonicMs()
      this.#paths[name].pushPing(++this.#pingId, { sentAtMs, resolve, reject }, pingTimeout)
      this.#wake()
    })
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
    if (!this.#waiting && this.#channels.idle) return Promise.resolve()
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
    this.#timer?.cancel()
    const urgent = this.#scheduler.drainUrgent()
    const { outstandingFrames, outstandingBytes } = this.#sendWindow
    const report = {
      by,
      undeliveredFrames: outstandingFrames + urgent.length,
      undeliveredBytes: outstandingBytes + this.#channels.queuedBytes,
    }
    this.#sendWindow.fail(error)
    for (const outgoing of urgent) outgoing.settlement?.failed(error)
    this.#receiveWindow.clear()
    this.#channels.fail(error)
    for (const path of this.#pathList) path.failPings(Number.POSITIVE_INFINITY, () => error)
    this.#drain.fail(error)
    this.#effects.closed(error, report)
  }

  #receiveAck(path: PathState, body: PacketBody, nowMs: number): void {
    const acknowledged = this.#sendWindow.acknowledge(body.ack, body.ranges)
    if (acknowledged.frames > 0) {
      this.#recovery.progressed(nowMs)
      const { sampleSentAtMs } = acknowledged
      // An answer that came by another path measures neither.
      if (sampleSentAtMs !== undefined && path === this.#active) path.rtt.sample(nowMs - sampleSentAtMs)
    }
    if (body.ranges.length > 0) this.#markOvertaken(nowMs)
  }

  /** Overtaking means loss on the relay path. A data channel keeps order: there, what is late is not lost. */
  #markOvertaken(nowMs: number): void {
    const path = this.#active
    if (path?.name !== 'relay') return
    const reorderingMs = path.rtt.reorderingMs(this.#limits.initialRtoMs)
    this.#recovery.overtakenDueMs = this.#sendWindow.markOvertaken(nowMs, reorderingMs)
  }

  #receiveFrames(path: PathState, frames: readonly Frame[], nowMs: number): void {
    let reliable = false
    let inOrder = this.#receiveWindow.heldFrames === 0
    for (const frame of frames) {
      checkFrame(frame)
      if (frame.seq === 0n) {
        this.#receiveUnreliable(path, frame, nowMs)
      } else {
        reliable = true
        if (!this.#receiveReliable(frame)) inOrder = false
      }
      if (this.#closed) return
    }
    if (reliable) this.#acknowledger.received(inOrder, nowMs)
  }

  #receiveUnreliable(path: PathState, { body }: Frame, nowMs: number): void {
    if (body.case === 'ping') path.pushPong(body.value.id)
    else if (body.case === 'pong') path.pong(body.value.id, nowMs)
    else if (body.case === 'goodbye') {
      const { error } = body.value
      this.#finish(error === undefined ? linkClosed() : MeshError.fromDetail(error), 'remote')
    }
  }

  /** Whether the frame was next in line. Hands on everything that is in order now. */
  #receiveReliable(frame: Frame): boolean {
    this.#counts.framesReceived += 1
    const window = this.#receiveWindow
    const place = window.accept(Number(frame.seq), frame)
    if (place === 'duplicate') this.#counts.duplicatesReceived += 1
    if (place === 'overflow') this.#counts.overflowsReceived += 1
    if (place === 'held' && frame.body.case === 'data') frame.body.value.data = retained(frame.body.value.data)
    if (place !== 'next') return false
    for (let next: Frame | undefined = frame; next !== undefined && !this.#closed; next = window.shift()) {
      this.#handle(next)
    }
    return true
  }

  #handle({ body }: Frame): void {
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
    this.#sendWindow.markAllLost()
    this.#recovery.pathChanged(nowMs)
    // What was acknowledged on the old path may have been lost with it.
    if (this.#receiveWindow.inOrder > 0) this.#acknowledger.hurry(nowMs)
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
    const ackDueMs = this.#acknowledger.dueMs
    const path = this.#active
    if (path !== undefined && !path.blocked && ackDueMs !== undefined && ackDueMs <= nowMs) this.#transmit(path, [])
    this.#flushing = false
    if (this.#closed) return
    const waiting = this.#waiting
    const idle = !waiting && this.#channels.idle
    this.#recovery.update(waiting || (!idle && this.#active === undefined), this.#active, nowMs)
    this.#watchRelay(!waiting && !idle, nowMs)
    if (idle && this.#drain.waiting) this.#drain.done()
    this.#arm(nowMs)
  }

  /**
   * The relay path is quiet by design. Only while data waits for nothing but the other side's credit, which a peer that
   * is gone would never give, it is asked for Pongs.
   */
  #watchRelay(needsCredit: boolean, nowMs: number): void {
    const { relay } = this.#paths
    if (!needsCredit || this.#active !== relay) relay.pingDueMs = undefined
    else relay.pingDueMs ??= nowMs + this.#limits.pingMs
  }

  #sendFrames(nowMs: number): void {
    const window = this.#sendWindow
    for (;;) {
      const path = this.#active
      if (path === undefined || path.blocked || this.#closed) return
      if (this.#recovery.probing && window.inFlightFrames > 0) return
      if (window.inFlightFrames === 0) this.#recovery.restart()
      const frames = this.#packer.pingFrames(path)
      const pings = frames.length
      this.#packer.fill(frames, path, nowMs)
      if (frames.length > 0) this.#transmit(path, frames)
      if (frames.length === pings) return
    }
  }

  /** Pings and Pongs have to go by the path they are about, used or not, full or not. */
  #sendPings(path: PathState): void {
    const frames = this.#packer.pingFrames(path)
    if (frames.length > 0) this.#transmit(path, frames)
  }

  #transmit(path: PathState, frames: Frame[]): void {
    this.#counts.packetsSent += 1
    this.#counts.framesSent += frames.length
    const body = create(PacketBodySchema, {
      ack: BigInt(this.#receiveWindow.inOrder),
      ranges: this.#receiveWindow.ranges(),
      frames,
    })
    // By the path in use only: another one may not carry it.
    if (path === this.#active) this.#acknowledger.sent()
    if (this.#effects.transmit(path.name, body) === false) path.blocked = true
  }

  #onTimer(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const path of this.#pathList) {
      path.failPings(nowMs - this.#limits.pingTimeoutMs, pingTimeout)
      this.#pingIdle(path, nowMs)
    }
    const { overtakenDueMs } = this.#recovery
    if (overtakenDueMs !== undefined && overtakenDueMs <= nowMs) this.#markOvertaken(nowMs)
    if (this.#recovery.expired(this.#active, nowMs)) this.#timeout()
    if (this.#recovery.dead(this.#active, nowMs)) this.#dead()
    this.#flush()
  }

  #timeout(): void {
    this.#counts.timeouts += 1
    // A full path may not have sent yet what was given to it.
    if (this.#active?.blocked) return
    if (this.#active?.name === 'relay') this.#sendWindow.markAllLost()
    else this.#sendWindow.markOldestLost(this.#limits.maxBodyBytes - ACK_BYTES)
  }

  #dead(): void {
    if (this.#active?.name === 'direct') return this.#directDead('brought no progress')
    const where = this.#active === undefined ? 'There was no path to the other side' : 'The relay path was silent'
    this.close(new MeshError(ErrorReason.LINK_TIMEOUT, `${where} while something waited`))
  }

  #pingIdle(path: PathState, nowMs: number): void {
    if (path.pingDueMs === undefined || path.pingDueMs > nowMs) return
    const { pingMs, directDeadMs, noProgressMs } = this.#limits
    const deadMs = path.name === 'direct' ? directDeadMs : noProgressMs
    // The time without a packet is counted in pings, so that a process that was suspended asks before it judges.
    if (path.unansweredPings >= deadMs / pingMs - 1) {
      return path.name === 'direct' ? this.#directDead('was silent') : this.#dead()
    }
    path.unansweredPings += 1
    path.pingDueMs = nowMs + pingMs
    path.pushPing(++this.#pingId, { sentAtMs: nowMs, resolve: () => undefined, reject: () => undefined }, pingTimeout)
  }

  #directDead(how: string): void {
    this.setPath('direct', { usable: false })
    const error = new MeshError(ErrorReason.LINK_TIMEOUT, `The direct path ${how} for ${this.#limits.directDeadMs} ms`)
    this.#effects.pathDead('direct', error)
  }

  /** Whether anything can be sent or is unacknowledged; what waits for credit does not count. */
  get #waiting(): boolean {
    return this.#sendWindow.outstandingFrames > 0 || this.#scheduler.hasFrames
  }

  /** Sets the timer to whatever is due first. One that is due earlier is left: it finds nothing and sets the next. */
  #arm(nowMs: number): void {
    const path = this.#active
    const ackDueMs = path === undefined || path.blocked ? undefined : this.#acknowledger.dueMs
    let dueMs = earliest(ackDueMs, this.#recovery.dueMs(path))
    for (const { pingDueMs, oldestPingAtMs } of this.#pathList) {
      dueMs = earliest(dueMs, pingDueMs)
      if (oldestPingAtMs !== undefined) dueMs = earliest(dueMs, oldestPingAtMs + this.#limits.pingTimeoutMs)
    }
    if (this.#timer !== undefined && dueMs !== undefined && this.#timerDueMs <= dueMs) return
    this.#timer?.cancel()
    this.#timer = undefined
    if (dueMs === undefined) return
    this.#timerDueMs = dueMs
    // Whole milliseconds, rounded up: a timer that comes a fraction early would find nothing due, again and again.
    this.#timer = this.#clock.schedule(Math.max(1, Math.ceil(dueMs - nowMs)), () => {
      this.#timer = undefined
      if (!this.#closed) this.#onTimer()
    })
  }
}

function linkClosed(): MeshError {
  return new MeshError(ErrorReason.LINK_CLOSED, 'The link is closed')
}

function pingTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, 'No Pong came in time')
}
