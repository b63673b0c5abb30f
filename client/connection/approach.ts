import { Backoff, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { ConnectionContext } from './connection-context.ts'
import { CALL_TIMEOUT_MS, OutgoingCall } from './outgoing-call.ts'
import type { Want, Wants } from './wants.ts'

/**
 * How one side comes to a link with a peer: the lower key calls, the higher key knocks until it is called. What fails is
 * tried again with backoff. At most one call, one wait for a turn and one timer at a time.
 */
export interface ApproachOptions {
  readonly context: ConnectionContext
  readonly peerKey: Uint8Array
  readonly role: 'lower' | 'higher'
  readonly wants: Wants
  readonly knock: (want: Want) => void
  /** A wait is over: look again at what is wanted. */
  readonly onDue: () => void
  /** A call began or ended. */
  readonly onChange: () => void
  /** A call failed, or a part of it. */
  readonly onError: (error: MeshError) => void
}

const NO_CONNECTION = new Uint8Array(0)
/** The lower key calls at once when both are online; a knock before that would only double the traffic. */
const KNOCK_AFTER_MS = 1_000
const KNOCK_AGAIN_MS = 2_000
const BACKOFF = { initialMs: 500, maxMs: 60_000, floorMs: 100 }

export class Approach {
  readonly #options: ApproachOptions
  readonly #backoff: Backoff
  #calling: { readonly call: OutgoingCall; readonly endTurn: () => void } | undefined
  #waitsForTurn = false
  #timer: Timer | undefined
  #stopped = false

  constructor(options: ApproachOptions) {
    this.#options = options
    this.#backoff = new Backoff({ ...BACKOFF, random: options.context.random })
  }

  /** The call that waits for an answer. */
  get call(): OutgoingCall | undefined {
    return this.#calling?.call
  }

  /** Calls, or begins to knock, unless that is under way or waits for its time. */
  begin(): void {
    this.#stopped = false
    if (this.#calling || this.#timer || this.#waitsForTurn) return
    if (this.#options.role === 'lower') void this.#call()
    else this.#later(KNOCK_AFTER_MS, () => this.#knock())
  }

  /** Ends the call and every wait. Idempotent. */
  stop(): void {
    this.#stopped = true
    this.#cancelTimer()
    this.endCall()
  }

  /** Ends the call without a word; the next `begin` makes another. */
  endCall(): void {
    if (!this.#calling) return
    const { call, endTurn } = this.#calling
    this.#calling = undefined
    call.end()
    endTurn()
    this.#options.onChange()
  }

  /** The call failed: the next one waits for its time. */
  fail(error: MeshError): void {
    this.endCall()
    this.#options.onError(error)
    this.retryLater(error.retryAfterMs)
  }

  /** Nothing begins before the backoff, or `floorMs` where that is longer, is over. */
  retryLater(floorMs = 0): void {
    this.#later(Math.max(this.#backoff.next(), floorMs), () => this.#options.onDue())
  }

  /** The backoff starts over; `now`: and what waits for it need not wait. */
  reset(now: boolean): void {
    this.#backoff.reset()
    if (now) this.#cancelTimer()
  }

  /** A call that is not started yet; undefined while this side cannot be reached itself. */
  makeCall(
    { handle, record }: Want,
    previousConnectionId: Uint8Array,
    onTimeout: (cause: MeshError | undefined) => void,
  ): OutgoingCall | undefined {
    const { context, peerKey, onError } = this.#options
    const self = handle.self()
    if (!self) return undefined
    let failure: MeshError | undefined
    return new OutgoingCall({
      clock: context.clock,
      handle,
      self,
      remote: record,
      connectionId: context.random.bytes(16),
      previousConnectionId,
      seq: context.nextSignalSeq(),
      send: (payload) => {
        context.send(peerKey, handle.topic, payload).catch((error: MeshError) => {
          failure = error
          onError(error)
        })
      },
      onTimeout: () => onTimeout(failure),
    })
  }

  /** Lower key: waits for a turn, then calls. Never rejects. */
  async #call(): Promise<void> {
    const { context, wants, onChange } = this.#options
    this.#waitsForTurn = true
    const endTurn = await context.linkTurn()
    this.#waitsForTurn = false
    const want = wants.listed()
    if (this.#stopped || this.#timer || !want || !context.relayUp()) return endTurn()
    const call = this.makeCall(this.#aim(want), NO_CONNECTION, (cause) => this.fail(cause ?? linkTimeout()))
    if (!call) return endTurn()
    this.#calling = { call, endTurn }
    onChange()
    await call.start().catch((error: unknown) => {
      if (this.call === call) this.fail(MeshError.from(error))
    })
  }

  /** Higher key: asks for a Hello, until there is a link. */
  #knock(): void {
    const { context, wants, knock } = this.#options
    const want = wants.listed()
    if (!want || !context.relayUp()) return
    const aimed = this.#aim(want)
    this.#later(Math.max(this.#backoff.next(), KNOCK_AGAIN_MS), () => this.#knock())
    knock(aimed)
  }

  /** What did not reach the peer in the session that is best for it is sealed to the next one that a server lists. */
  #aim(want: Want): Want {
    const tries = this.#backoff.attempt
    const records = want.handle.records(this.#options.peerKey)
    const record = tries > 0 && records.length > 1 ? records[tries % records.length] : undefined
    return record ? { ...want, record } : want
  }

  #later(delayMs: number, run: () => void): void {
    this.#cancelTimer()
    this.#timer = this.#options.context.clock.schedule(delayMs, () => {
      this.#timer = undefined
      run()
    })
  }

  #cancelTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

function linkTimeout(): MeshError {
  return new MeshError(ErrorReason.LINK_TIMEOUT, `the peer did not answer within ${CALL_TIMEOUT_MS} ms`, {
    retryable: true,
  })
}
