import { join, type Message, type Swarm } from '@mesh/client'
import type { Ledger } from './ledger.ts'

export interface SdkPeerOptions {
  readonly name: string
  /** Origins of its servers, all at once. */
  readonly servers: readonly string[]
  readonly party: string
  readonly ledger: Ledger
  /** Names by peer id, shared by all peers of a run. */
  readonly names: Map<string, string>
}

/**
 * A client as applications have it, without WebRTC, so that all it says goes through the servers. What it sends counts as
 * delivered when the other side's SDK acknowledged it.
 */
export class SdkPeer {
  readonly name: string
  readonly #options: SdkPeerOptions
  readonly #swarm: Swarm
  #count = 0
  #pending = 0

  private constructor(options: SdkPeerOptions, swarm: Swarm) {
    this.name = options.name
    this.#options = options
    this.#swarm = swarm
    const { ledger, names } = options
    const nameOf = (id: string): string => names.get(id) ?? id
    names.set(swarm.id, this.name)
    swarm.on('message', (message: Message) => ledger.received(message.text(), this.name, performance.now()))
    swarm.on('join', ({ id }) => ledger.joined(this.name, nameOf(id), performance.now()))
    swarm.on('leave', ({ id }) => ledger.left(this.name, nameOf(id), performance.now(), 'leave event of the SDK'))
  }

  /** Resolves when the directory has the peer. */
  static async start(options: SdkPeerOptions): Promise<SdkPeer> {
    const { servers, party } = options
    return new SdkPeer(options, await join({ servers, party, identity: 'ephemeral', rtc: null }))
  }

  get id(): string {
    return this.#swarm.id
  }

  /** Names of the peers it is linked to. */
  get view(): ReadonlySet<string> {
    return new Set([...this.#swarm.peers.keys()].map((id) => this.#options.names.get(id) ?? id))
  }

  /** How many messages wait for their acknowledgement. */
  get pendingCount(): number {
    return this.#pending
  }

  send(to: SdkPeer): void {
    const { ledger } = this.#options
    const text = `${this.name}>${to.name}#${++this.#count}`
    ledger.sent(text, this.name, to.name, performance.now())
    this.#pending++
    this.#swarm
      .send(text, { to: to.id })
      .then(
        () => ledger.settled(text, 'delivered', performance.now()),
        (error: { reasonName?: string }) => ledger.settled(text, 'refused', performance.now(), error.reasonName),
      )
      .finally(() => this.#pending--)
  }

  async close(): Promise<void> {
    this.#options.ledger.gone(this.name, performance.now())
    await this.#swarm.close()
  }
}
