import { systemRandom } from '@mesh/core'
import { type Subscription, TestPeer } from '@mesh/server/testing'

/** Within max_topics_per_session. */
const TOPICS_PER_PEER = 100
/** At most this many sessions join at the same time. */
const AT_ONCE = 10

/** Peers that are members of many topics: rows for the servers to replicate, at the price of few sessions. */
export class JoinStorm {
  readonly #peers: readonly TestPeer[]
  readonly #streams: Subscription[] = []

  private constructor(peers: readonly TestPeer[]) {
    this.#peers = peers
  }

  /** Sessions at `origin` that can become `rows` memberships. */
  static async prepare(origin: string, rows: number): Promise<JoinStorm> {
    const peers: TestPeer[] = []
    while (peers.length < rows / TOPICS_PER_PEER) peers.push(await TestPeer.open({ origin }))
    const storm = new JoinStorm(peers)
    for (const peer of peers) storm.#streams.push(await peer.subscribe().opened())
    return storm
  }

  /** Joins as fast as the server takes it; resolves with how many rows there are now. */
  async break(): Promise<number> {
    let rows = 0
    const waiting = [...this.#peers]
    const worker = async (): Promise<void> => {
      for (let peer = waiting.shift(); peer !== undefined; peer = waiting.shift()) {
        for (let topic = 0; topic < TOPICS_PER_PEER; topic++) {
          await peer.join(systemRandom.bytes(32))
          rows++
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    return rows
  }

  close(): void {
    for (const stream of this.#streams) stream.cancel()
  }
}
