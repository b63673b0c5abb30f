import { create } from '@bufbuild/protobuf'
import { Backoff, type Clock, ErrorReason, MeshError, type Random, type Timer } from '@mesh/core'
import { type RtcSignal, RtcSignalSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { RtcConfiguration, RtcDataChannel, RtcFactory, RtcIceServer } from './rtc.ts'
import { type CandidateCounts, RtcAttempt } from './rtc-attempt.ts'

/**
 * The direct path of one link: at most one data channel at a time, and the decision when to try for one.
 *
 * The peer with the lower key offers, so two offers never meet. It tries up to three times with backoff, the last time
 * through TURN only; after that once in a while, because networks change. The other side answers, and asks for an attempt
 * when its channel ended. While there is no channel the link stays on the relay path.
 */
export interface DirectPathOptions {
  readonly clock: Clock
  readonly random: Random
  /** Undefined while there is no WebRTC, or the topics on the link do not allow it. */
  readonly factory: () => RtcFactory | undefined
  /** Whether the other side would hear of an attempt now; while it would not, there is none. */
  readonly reachable: () => boolean
  readonly iceServers: () => readonly RtcIceServer[]
  readonly offerer: boolean
  /** Attempts of all links together are limited; resolves with the function that ends this one's turn. */
  readonly turn: () => Promise<() => void>
  readonly sendSignal: (signal: RtcSignal) => void
  /** A channel is open; the link proves it before it carries data. `datagrams`: the one beside it. */
  readonly onChannel: (channel: RtcDataChannel, datagrams: RtcDataChannel) => void
  readonly onDown: (error: MeshError) => void
  /** State or last error changed. */
  readonly onChange: () => void
}

export type DirectState = 'off' | 'connecting' | 'open' | 'waiting'

const BACKOFF = { initialMs: 1_000, maxMs: 10_000, floorMs: 200 }
const QUICK_ATTEMPTS = 3
/** After the quick attempts: networks change, but rarely, and most changes are told (see DirectPath.hurry). */
const SLOW_RETRY = { initialMs: 300_000, maxMs: 900_000, floorMs: 180_000 }
/** A channel that held this long makes the count start over. */
const STABLE_MS = 5_000

export class DirectPath {
  readonly #options: DirectPathOptions
  readonly #quick: Backoff
  readonly #slow: Backoff
  #attempt: RtcAttempt | undefined
  #number = 0
  #tries = 0
  #openedAtMs = 0
  #retry: Timer | undefined
  #endTurn: (() => void) | undefined
  #enabled = false
  /** There was a factory when this was looked at last. */
  #possible = false
  #closed = false
  state: DirectState = 'off'
  lastError: MeshError | undefined
  candidates: CandidateCounts = { local: 0, remote: 0 }

  constructor(options: DirectPathOptions) {
    this.#options = options
    this.#quick = new Backoff({ ...BACKOFF, random: options.random })
    this.#slow = new Backoff({ ...SLOW_RETRY, random: options.random })
  }

  get tries(): number {
    return this.#tries
  }

  /** The other peer is admitted, to a topic more: WebRTC may begin, or become possible. */
  enable(): void {
    const { factory, offerer } = this.#options
    const possible = factory() !== undefined
    if (this.#closed || (this.#enabled && (this.#possible || !possible))) return
    const wasEnabled = this.#enabled
    this.#enabled = true
    this.#possible = possible
    if (offerer) void this.#start()
    else if (wasEnabled) this.#request()
  }

  /** Whether a direct path is allowed may have changed: this side gives it up, or tries for one. */
  reconsider(): void {
    const possible = this.#options.factory() !== undefined
    if (this.#closed || !this.#enabled || possible === this.#possible) return
    if (possible) return this.enable()
    this.#possible = false
    const error = unavailable()
    if (this.#attempt) this.#signal({ case: 'failure', value: error.toDetail() })
    this.#replace()
    this.lastError = error
    this.#set('off')
  }

  /** The other side is reachable again, or the network may be another one: the next attempt does not wait. */
  hurry(): void {
    if (!this.#enabled || this.state !== 'waiting') return
    this.#startOver()
    if (this.#options.offerer) this.#again(0)
    else this.#request()
  }

  receive(signal: RtcSignal): void {
    const { offerer } = this.#options
    const factory = this.#options.factory()
    if (!this.#enabled || signal.attempt < this.#number) return
    if (signal.signal.case === 'request') {
      if (offerer && this.state !== 'connecting') this.#again(0)
      return
    }
    if (signal.attempt > this.#number) {
      if (offerer || signal.signal.case !== 'offer') return
      if (!factory) return this.#refuse(signal.attempt)
      this.#replace()
      this.#number = signal.attempt
      this.#open(factory)
    }
    this.#attempt?.receive(signal.signal)
  }

  /** The link found the channel dead. */
  fail(error: MeshError): void {
    if (!this.#attempt) return
    this.#end()
    this.#onEnd(error)
  }

  /** Ends the channel and tries for no other. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#enabled = false
    this.#end()
    this.#set('off')
  }

  /** Never rejects: a turn only ever comes, and everything after it is reported by the attempt. */
  async #start(): Promise<void> {
    if (!this.#options.factory()) {
      this.lastError = unavailable()
      return this.#set('off')
    }
    this.#set('connecting')
    const endTurn = await this.#options.turn()
    const factory = this.#options.factory()
    if (!this.#enabled || this.#attempt || !factory) return endTurn()
    if (!this.#options.reachable()) {
      this.#set('waiting')
      return endTurn()
    }
    this.#endTurn = endTurn
    this.#number++
    this.#open(factory)
  }

  #open(factory: RtcFactory): void {
    this.#tries++
    this.#set('connecting')
    const number = this.#number
    this.#attempt = new RtcAttempt({
      factory,
      clock: this.#options.clock,
      configuration: this.#configuration(),
      offerer: this.#options.offerer,
      signal: (signal) => this.#signal(signal, number),
      onOpen: (channel, datagrams) => {
        this.#openedAtMs = this.#options.clock.monotonicMs()
        this.#releaseTurn()
        this.lastError = undefined
        this.#set('open')
        this.#options.onChannel(channel, datagrams)
      },
      onEnd: (error) => {
        this.#end()
        this.#onEnd(error)
      },
    })
    this.candidates = this.#attempt.candidates
  }

  #configuration(): RtcConfiguration {
    const iceServers = this.#options.iceServers()
    const hasTurn = iceServers.some(({ username }) => username !== undefined)
    return { iceServers, iceTransportPolicy: hasTurn && this.#tries % QUICK_ATTEMPTS === 0 ? 'relay' : 'all' }
  }

  #onEnd(error: MeshError): void {
    const { clock, offerer } = this.#options
    const wasOpen = this.state === 'open'
    this.lastError = error
    this.#set('waiting')
    if (wasOpen) {
      if (clock.monotonicMs() - this.#openedAtMs > STABLE_MS) this.#startOver()
      this.#options.onDown(error)
    } else {
      this.#signal({ case: 'failure', value: error.toDetail() })
    }
    if (error.reason === ErrorReason.RTC_UNAVAILABLE) return this.#set('off')
    if (!offerer) {
      if (wasOpen) this.#request()
      return
    }
    this.#again(this.#tries < QUICK_ATTEMPTS ? this.#quick.next() : this.#slow.next())
  }

  #again(delayMs: number): void {
    this.#retry?.cancel()
    this.#retry = this.#options.clock.schedule(delayMs, () => {
      this.#replace()
      if (this.#enabled) void this.#start()
    })
  }

  /** Makes room for the next attempt. The other side has given up a channel that still looks open here. */
  #replace(): void {
    const wasOpen = this.state === 'open'
    this.#end()
    if (wasOpen) this.#options.onDown(new MeshError(ErrorReason.ICE_FAILED, 'the other side asks for a new channel'))
  }

  #startOver(): void {
    this.#tries = 0
    this.#quick.reset()
    this.#slow.reset()
  }

  /** This side cannot do WebRTC: say so, or the offerer keeps trying. */
  #refuse(attempt: number): void {
    this.#number = attempt
    this.lastError = unavailable()
    this.#signal({ case: 'failure', value: this.lastError.toDetail() })
  }

  #request(): void {
    // The other side may not have begun to count.
    this.#signal({ case: 'request', value: { $typeName: 'mesh.peer.v1.RtcRequest' } }, Math.max(1, this.#number))
  }

  #signal(signal: RtcSignal['signal'], attempt = this.#number): void {
    this.#options.sendSignal(create(RtcSignalSchema, { attempt, signal }))
  }

  #end(): void {
    this.#retry?.cancel()
    this.#attempt?.close()
    this.#attempt = undefined
    this.#releaseTurn()
  }

  #releaseTurn(): void {
    this.#endTurn?.()
    this.#endTurn = undefined
  }

  #set(state: DirectState): void {
    this.state = state
    this.#options.onChange()
  }
}

function unavailable(): MeshError {
  return new MeshError(ErrorReason.RTC_UNAVAILABLE, 'there is no WebRTC on this side, or it is not allowed')
}
