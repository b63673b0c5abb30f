import type { Peer, Swarm } from '@mesh/client'
import { askNeighbours, type Neighbour } from '../peer/neighbours.ts'

/** How often peers are asked again, besides whenever something changed here. */
const REPEAT_MS = 5_000
/** Changes come in bursts: somebody who joins connects to everybody. */
const SETTLE_MS = 400

/** Keeps what each peer says about its own connections. */
export class NeighbourWatch {
  readonly #changed: () => void
  readonly #known = new Map<string, readonly Neighbour[]>()
  readonly #stop = new AbortController()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(changed: () => void) {
    this.#changed = changed
  }

  /** What this peer said last; empty when it never did. */
  of(id: string): readonly Neighbour[] {
    return this.#known.get(id) ?? []
  }

  /** The swarm changed: ask again soon. */
  update(swarm: Swarm): void {
    for (const id of this.#known.keys()) if (!swarm.peers.has(id)) this.#known.delete(id)
    this.#later(swarm, SETTLE_MS)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
  }

  #later(swarm: Swarm, delayMs: number): void {
    if (this.#stop.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#askAll(swarm), delayMs)
  }

  async #askAll(swarm: Swarm): Promise<void> {
    // Alone with one other, there is nothing to draw between the others.
    const peers = swarm.peers.size > 1 ? [...swarm.peers.values()] : []
    await Promise.all(peers.map((peer) => this.#ask(swarm, peer)))
    this.#later(swarm, REPEAT_MS)
  }

  async #ask(swarm: Swarm, peer: Peer): Promise<void> {
    if (peer.path === 'none') return
    const neighbours = await askNeighbours(peer, this.#stop.signal)
    if (!swarm.peers.has(peer.id) || this.#stop.signal.aborted) return
    this.#known.set(peer.id, neighbours)
    this.#changed()
  }
}
