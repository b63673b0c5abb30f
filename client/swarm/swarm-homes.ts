import { type Clock, type MeshError, type Party, type Random, type SigningKey, toHex, verifyRecord } from '@mesh/core'
import type { MembersEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { HandshakeSelf } from '../connection/handshake.ts'
import type { OrderedQueue } from '../connection/ordered-queue.ts'
import { combineFailures } from '../signal/combined-error.ts'
import type { SignalClient } from '../signal/signal-client.ts'
import { type MemberChange, MembershipView } from './membership-view.ts'
import { MergedView } from './merged-view.ts'
import type { RecordSeq } from './record-seq.ts'
import { SwarmHome } from './swarm-home.ts'

/**
 * One swarm at all servers of the client: it is joined at each, its members are those that any of them lists. A server that is
 * out of reach keeps what it said, for as long as its leases would, or until another one can be asked.
 */
export interface SwarmHomesOptions {
  readonly party: Party
  readonly key: SigningKey
  readonly clock: Clock
  readonly random: Random
  readonly seq: RecordSeq
  readonly state: Uint8Array
  /** Everything that becomes of members goes through it, in order. */
  readonly work: OrderedQueue
  readonly onChanges: (changes: readonly MemberChange[]) => void
  /** A server has the membership, and its list is taken in. */
  readonly onJoined: () => void
  /** There is an own record with another state, which a server may not have yet. */
  readonly onState: () => void
  /** `isJoined` may be another, or a join may have become hopeless. */
  readonly onStatus: () => void
  readonly onError: (error: MeshError) => void
}

/** What a server said counts for so long after it was lost, if another one can be asked: a lease. */
const LOST_AFTER_MS = 15_000

export class SwarmHomes {
  readonly members = new MergedView()
  readonly #options: SwarmHomesOptions
  readonly #homes = new Map<SignalClient, SwarmHome>()
  #state: Uint8Array
  #left = false

  constructor(options: SwarmHomesOptions) {
    this.#options = options
    this.#state = options.state
  }

  /** True while at least one server has the membership and can be reached. */
  get isJoined(): boolean {
    return this.#all.some(({ isJoined }) => isJoined)
  }

  /** Why no server will take the membership; undefined while one may. */
  get refusal(): MeshError | undefined {
    const refused = this.#all.filter(({ refusal }) => refusal)
    if (refused.length === 0 || this.#all.some(({ isHopeless }) => !isHopeless)) return undefined
    return combineFailures(
      this.#all.flatMap(({ refusal, signal: { origin, state } }) => {
        const error = refusal ?? ('error' in state ? state.error : undefined)
        return error ? [{ origin, error }] : []
      }),
    )
  }

  /**
   * What this peer shows of itself: its record at the server that is best to reach it by. While servers come back, what it
   * showed last; undefined before the first one is signed.
   */
  get self(): HandshakeSelf | undefined {
    const { key, party } = this.#options
    const joined = this.#all.filter(({ isJoined }) => isJoined)
    const records = (joined.length > 0 ? joined : this.#all).flatMap(({ directory }) => directory.current ?? [])
    const best = records.sort((a, b) => (a.session.order < b.session.order ? 1 : -1))[0]
    return best && { key, session: best.session, party, record: best.signed }
  }

  /** Whether that server lists the peer. */
  lists(signal: SignalClient, peerKey: Uint8Array): boolean {
    return this.#homes.get(signal)?.view.members.has(toHex(peerKey)) === true
  }

  /** Whether nobody would be missed without that server, and the membership is held elsewhere too. */
  isReplaceable(signal: SignalClient): boolean {
    const others = this.#all.filter((home) => home.signal !== signal && home.isJoined)
    const listed = this.#homes.get(signal)?.view.members.keys() ?? []
    return others.length > 0 && [...listed].every((name) => others.some(({ view }) => view.members.has(name)))
  }

  /** A server more: joined as soon as there is a session. */
  add(signal: SignalClient): void {
    const { party, key, clock, random, seq, work, onJoined, onState, onError, onStatus } = this.#options
    if (this.#left) return
    const view = new MembershipView({
      ownKey: key.publicKey,
      verify: (record, kind) => verifyRecord(record, { nowMs: signal.wallMs(), topic: party.topic, kind }),
      onRejected: onError,
    })
    const home: SwarmHome = new SwarmHome({
      signal,
      view,
      party,
      key,
      clock,
      random,
      seq,
      state: this.#state,
      onJoined: (response) =>
        work.run(async () => {
          this.#merge(await view.applyJoin(response))
          onJoined()
        }),
      onState,
      onError: (error) => {
        // What passes by itself is nobody's business while another server does the work.
        if (!error.retryable || !this.isJoined) onError(error)
        onStatus()
      },
    })
    this.#homes.set(signal, home)
    this.members.add(view)
  }

  /** Joins wherever there is a session. */
  join(): void {
    for (const { directory } of this.#all) directory.refresh()
  }

  /** A server less; its session is being closed, so there is nothing to say to it. */
  remove(signal: SignalClient): void {
    const home = this.#homes.get(signal)
    if (!home) return
    this.#homes.delete(signal)
    home.directory.abandon()
    this.#options.work.run(() => this.#options.onChanges(this.members.remove(home.view)))
    this.#options.onStatus()
  }

  /** There is a new session to join under. */
  opened(signal: SignalClient): void {
    this.#homes.get(signal)?.directory.refresh()
  }

  connected(signal: SignalClient): void {
    this.#homes.get(signal)?.connected()
    this.#options.onStatus()
  }

  disconnected(signal: SignalClient): void {
    this.#homes.get(signal)?.disconnected()
    this.#options.onStatus()
  }

  /** Events were lost: compares with a fresh answer. */
  gap(signal: SignalClient): void {
    this.#homes.get(signal)?.directory.refresh()
  }

  event(signal: SignalClient, event: MembersEvent): void {
    const view = this.#homes.get(signal)?.view
    if (view) this.#options.work.run(async () => this.#merge(await view.applyEvent(event)))
  }

  /** Throws RECORD_STATE above 1,024 bytes. */
  setState(state: Uint8Array): void {
    for (const { directory } of this.#all) directory.setState(state)
    this.#state = state
  }

  /** See DirectoryMembership.check. */
  check(): void {
    for (const { directory } of this.#all) directory.check()
  }

  /** Says to every server within reach that this peer leaves. */
  async leave(): Promise<void> {
    this.#left = true
    await Promise.all(this.#all.map(({ directory }) => directory.leave()))
  }

  /** Takes out what expired, and what was said by servers that are lost. */
  expire(): void {
    for (const home of this.#all) {
      const { view, signal } = home
      if (home.isJoined) this.#merge(view.expire(signal.wallMs()))
      if (home.downForMs < LOST_AFTER_MS || view.members.size === 0 || !this.isJoined) continue
      home.outdate()
      this.#merge(view.clear())
    }
  }

  get #all(): SwarmHome[] {
    return [...this.#homes.values()]
  }

  #merge(changes: readonly MemberChange[]): void {
    if (!this.#left) this.#options.onChanges(this.members.merge(changes))
  }
}
