import type { Clock, MeshError, Party, Random, SigningKey } from '@mesh/core'
import type { JoinResponse } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { SignalClient } from '../signal/signal-client.ts'
import { DirectoryMembership } from './directory-membership.ts'
import type { MembershipView } from './membership-view.ts'
import type { RecordSeq } from './record-seq.ts'

/** One swarm at one of its servers: the own membership there, and the members that server lists. */
export interface SwarmHomeOptions {
  readonly signal: SignalClient
  readonly view: MembershipView
  readonly party: Party
  readonly key: SigningKey
  readonly clock: Clock
  readonly random: Random
  readonly seq: RecordSeq
  readonly state: Uint8Array
  readonly onJoined: (response: JoinResponse) => void
  /** See DirectoryMembership. */
  readonly onState: () => void
  readonly onError: (error: MeshError) => void
}

export class SwarmHome {
  readonly signal: SignalClient
  readonly view: MembershipView
  readonly directory: DirectoryMembership
  readonly #clock: Clock
  #isUp = false
  /** Since when the server is out of reach. */
  #downAtMs: number
  /** What the server said was dropped, so that it must be asked again. */
  #outdated = false
  /** Why the server refused the membership for good. */
  refusal: MeshError | undefined

  constructor(options: SwarmHomeOptions) {
    this.signal = options.signal
    this.view = options.view
    this.#clock = options.clock
    this.#downAtMs = options.clock.monotonicMs()
    this.directory = new DirectoryMembership({
      ...options,
      onJoined: (response) => {
        this.#isUp = true
        this.refusal = undefined
        options.onJoined(response)
      },
      onError: (error) => {
        if (!error.retryable) this.refusal = error
        options.onError(error)
      },
    })
  }

  /** This peer is a member here, as far as is known, and what happens is heard of. */
  get isJoined(): boolean {
    return this.#isUp && this.directory.joined
  }

  /** True while nothing but time can make this server take the membership. */
  get isHopeless(): boolean {
    const { kind } = this.signal.state
    return this.refusal !== undefined || kind === 'waiting' || kind === 'closed'
  }

  /** For how long the server has been out of reach; 0 while it is not. */
  get downForMs(): number {
    return this.#isUp ? 0 : this.#clock.monotonicMs() - this.#downAtMs
  }

  /** The signaling connection is up: joins, unless that is done or under way. */
  connected(): void {
    this.#isUp = true
    if (this.#outdated) this.directory.refresh()
    else this.directory.resume()
    this.#outdated = false
  }

  disconnected(): void {
    if (this.#isUp) this.#downAtMs = this.#clock.monotonicMs()
    this.#isUp = false
  }

  /** What the server said does not count any more. */
  outdate(): void {
    this.#outdated = true
  }
}
