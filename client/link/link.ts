import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import type { Frame, PacketBody } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { ChannelTable, type OpenChannelOptions } from './channel/channel-table.ts'
import type { LinkChannel } from './channel/link-channel.ts'
import { measuredFrame } from './frame-size.ts'
import type { ControlFrame, LinkEffects, LinkOptions, LinkStats } from './link-effects.ts'
import { DEFAULT_LINK_LIMITS, type LinkLimits } from './link-limits.ts'
import { LinkTimer } from './link-timer.ts'
import type { Outgoing } from './outgoing.ts'
import { goodbyeFrame } from './packer.ts'
import { PacketPump } from './packet-pump.ts'
import type { PathName, PathState } from './path-state.ts'
import { Paths } from './paths.ts'
import { Receiving } from './receiving.ts'
import { earliest, silence } from './recovery.ts'
import { Scheduler } from './scheduler.ts'
import { Sending } from './sending.ts'
import { Waiters } from './waiters.ts'
import { Watch } from './watch.ts'

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

export class Link {
  readonly #clock: Clock
  readonly #effects: LinkEffects
  readonly #limits: LinkLimits
  readonly #defer: (run: () => void) => void
  readonly #paths = new Paths()
  readonly #scheduler: Scheduler
  readonly #sending: Sending
  readonly #receiving: Receiving
  readonly #pump: PacketPump
  readonly #watch: Watch
  readonly #timer: LinkTimer
  readonly #channels: ChannelTable
  /** Those who wait until nothing is left to deliver. */
  readonly #drain = new Waiters<void>()
  #closed = false
  #flushQueued = false

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
    this.#pump = new PacketPump({ sending: this.#sending, receiving: this.#receiving, effects: this.#effects })
    this.#watch = new Watch({
      limits: this.#limits,
      paths: this.#paths,
      sending: this.#sending,
      dead: (path) => this.#dead(path),
      silenceChanged: (silent) => this.#effects.silenceChanged?.(silent),
    })
    this.#timer = new LinkTimer(options.clock, () => {
      this.#watch.run(this.#clock.monotonicMs())
      this.#flush()
    })
    this.#channels = new ChannelTable({
      role: options.role,
      limits: this.#limits,
      scheduler: this.#scheduler,
      wake: () => this.#wake(),
      sendUrgent: (outgoing) => this.#sendUrgent(outgoing),
      sendDatagram: (frame) => this.#pump.sendDatagram(this.#paths.active, frame),
      opened: (channel) => this.#effects.channel(channel),
      direct: () => this.path === 'direct',
    })
  }

  /** The path that carries data now. */
  get path(): PathName | undefined {
    return this.#paths.active?.name
  }
  /** Round-trip time of that path in milliseconds, smoothed; undefined until measured. */
  get rttMs(): number | undefined {
    return this.#paths.active?.rttMs
  }
  /** Something waits, and nothing has come by the relay path for 30 s: the other side may sleep. The link waits for it. */
  get silent(): boolean {
    return this.#paths.relay.silent
  }
  get state(): 'open' | 'closed' {
    return this.#closed ? 'closed' : 'open'
  }
  get stats(): LinkStats {
    return {
      ...this.#pump.stats,
      ...this.#sending.stats,
      ...this.#receiving.stats,
      ...this.#channels.stats,
      pathChanges: this.#paths.changes,
    }
  }

  /**
   * Says whether packets can go by a path. Idempotent. Direct is preferred; when the path in use changes, everything
   * unacknowledged is sent again. A path that becomes usable starts afresh: not full, and heard just now.
   */
  setPath(name: PathName, { usable }: { usable: boolean }): void {
    const path = this.#paths.named(name)
    if (this.#closed || path.usable === usable) return
    const nowMs = this.#clock.monotonicMs()
    const before = this.path
    this.#watch.usable(path, usable, nowMs)
    if (this.#paths.setUsable(path, usable)) this.#pathChanged(before, nowMs)
    this.#wake()
  }

  /**
   * This side slept, its network changed, or the other side is known to be back: a direct path has 1.5 s to show that it works,
   * what waits is sent again, and no time that passed counts for the end of anything.
   */
  check(): void {
    if (this.#closed) return
    this.#watch.startOver(this.#clock.monotonicMs())
    this.#wake()
  }

  /** From now on only the direct path carries data of the topic's channels, and they end when it breaks. Idempotent. */
  confine(topic: Uint8Array): void {
    this.#channels.confine(topic)
  }

  /** The path takes packets again, after `transmit` returned false. */
  pathReady(name: PathName): void {
    this.#paths.named(name).blocked = false
    this.#wake()
  }

  /**
   * Takes a decrypted packet, which belongs to the link from now on. Never throws: a body that breaks the protocol
   * closes the link with FRAME_INVALID.
   */
  receive(name: PathName, body: PacketBody): void {
    if (this.#closed) return
    const path = this.#paths.named(name)
    const nowMs = this.#clock.monotonicMs()
    try {
      this.#watch.heard(path, nowMs)
      this.#sending.acknowledge(body, path, this.#paths.active, nowMs)
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
    return this.#watch.ping(this.#paths.named(name), this.#clock.monotonicMs())
  }

  /**
   * Sends a frame of the connection, before all data. A detach ends the topic's channels on this side.
   * Resolves when it was acknowledged; the promise may be ignored.
   * @throws MeshError INVALID_ARGUMENT when the frame is too large for a packet; the link's error
   */
  sendControl(body: ControlFrame): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      if (this.#closed) throw linkClosed()
      const { frame, bytes } = measuredFrame(body, this.#limits.maxBodyBytes)
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
    const goodbye = goodbyeFrame(error)
    for (const path of this.#paths.all) if (path.usable) this.#pump.send(path, [goodbye], false)
    this.#finish(error, 'local')
  }

  #finish(error: MeshError, by: 'local' | 'remote'): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer.cancel()
    const undeliveredBytes = this.#sending.window.outstandingBytes + this.#channels.stats.queuedBytes
    const undeliveredFrames = this.#channels.waiting + this.#sending.fail(error)
    this.#receiving.window.clear()
    this.#channels.fail(error)
    for (const path of this.#paths.all) path.failPings(Number.POSITIVE_INFINITY, () => error)
    this.#drain.rejectAll(error)
    this.#effects.closed(error, { by, undeliveredFrames, undeliveredBytes })
  }

  #receiveUnreliable(path: PathState, body: Frame['body'], nowMs: number): void {
    if (body.case === 'datagram') this.#channels.receiveDatagram(body.value)
    else if (body.case === 'ping') path.pushPong(body.value.id)
    else if (body.case === 'pong') path.pong(body.value.id, nowMs)
    else if (body.case === 'goodbye') {
      this.#finish(body.value.error ? MeshError.fromDetail(body.value.error) : linkClosed(), 'remote')
    }
  }

  #receiveReliable(body: Frame['body']): void {
    if (body.case === 'detach') this.#channels.detach(body.value.topic)
    if (body.case === 'attach' || body.case === 'detach' || body.case === 'rtc') this.#effects.control(body)
    else this.#channels.receive(body)
  }

  #sendUrgent(outgoing: Outgoing): void {
    if (this.#scheduler.pushUrgent(outgoing)) return this.#wake()
    const error = this.#scheduler.overflow()
    outgoing.settlement?.failed(error)
    this.close(error)
  }

  #pathChanged(before: PathName | undefined, nowMs: number): void {
    this.#watch.setSilent(false)
    this.#sending.pathChanged(nowMs)
    if (before === 'direct') {
      const error = new MeshError(ErrorReason.LINK_CLOSED, 'The direct path broke', { retryable: true })
      this.#sending.window.blank(this.#channels.endConfined(error), error)
    }
    this.#channels.holdConfined()
    // What was acknowledged on the old path may have been lost with it.
    if (this.#receiving.window.inOrder > 0) this.#receiving.acknowledger.hurry(nowMs)
    this.#effects.pathChanged?.(this.path)
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
    if (this.#closed) return
    const nowMs = this.#clock.monotonicMs()
    this.#pump.run(() => (this.#closed ? undefined : this.#paths.active), this.#paths.all, nowMs)
    if (this.#closed) return
    const { waiting, recovery } = this.#sending
    const idle = !waiting && this.#channels.idle
    recovery.update(waiting || (!idle && this.#paths.active === undefined), this.#paths.active, nowMs)
    this.#watch.waitsForCredit(!waiting && !idle && this.path === 'relay', nowMs)
    if (idle) this.#drain.resolveAll()
    const { active } = this.#paths
    const ackDueMs = active && !active.blocked ? this.#receiving.acknowledger.dueMs : undefined
    this.#timer.set(earliest(this.#watch.dueMs(), ackDueMs), nowMs)
  }

  #dead(path: PathState | undefined): void {
    const error = silence(path?.name, this.#limits)
    if (path?.name !== 'direct') return this.close(error)
    this.setPath('direct', { usable: false })
    this.#effects.pathDead('direct', error)
  }
}

function linkClosed(): MeshError {
  return new MeshError(ErrorReason.LINK_CLOSED, 'The link is closed')
}
