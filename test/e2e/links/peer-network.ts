import { Namespaces } from '../network/namespaces.ts'
import type { CastPlaces } from '../swarm/cast.ts'

/** Last address of the network: this process, with the server and the pages. */
const HOST = 254

/**
 * Peers in network namespaces of their own, on one bridge with this process, which has the server. What happens to the direct path
 * is done by nft rules at each peer for the UDP packets of the others: what goes through the server, TCP, is never touched.
 */
export class PeerNetwork implements CastPlaces {
  readonly #namespaces: Namespaces
  readonly #count: number

  private constructor(namespaces: Namespaces, count: number) {
    this.#namespaces = namespaces
    this.#count = count
  }

  static async open(peers: number): Promise<PeerNetwork> {
    const network = new PeerNetwork(await Namespaces.open(['lan']), peers)
    try {
      await network.#build()
    } catch (error) {
      await network.close()
      throw error
    }
    return network
  }

  get host(): string {
    return `${this.#namespaces.subnet}.${HOST}`
  }

  launcher(peer: number): readonly string[] {
    return this.#namespaces.launcher(String(peer))
  }

  /** No packet of WebRTC arrives anywhere any more, and nobody is told. */
  async block(): Promise<void> {
    await this.#rule('meta l4proto udp drop')
  }

  /** That share of the packets of WebRTC does not arrive, in each direction. */
  async lose(percent: number): Promise<void> {
    await this.#rule(`meta l4proto udp numgen random mod 100 < ${percent} drop`)
  }

  /** All of them arrive again. */
  async heal(): Promise<void> {
    await this.#each((name) => this.#namespaces.in(name, 'nft', 'flush chain inet mesh input'))
  }

  /** Idempotent. */
  close(): Promise<void> {
    return this.#namespaces.close()
  }

  async #build(): Promise<void> {
    const { subnet } = this.#namespaces
    await this.#namespaces.join('lan', `${this.host}/24`)
    await this.#each(async (name) => {
      await this.#namespaces.add(name, { lan: `${subnet}.${Number(name) + 1}/24` })
      // Chromium offers the address of its default route.
      await this.#namespaces.in(name, 'ip', 'route', 'add', 'default', 'via', this.host)
      await this.#namespaces.in(name, 'nft', 'add table inet mesh')
      await this.#namespaces.in(name, 'nft', 'add chain inet mesh input { type filter hook input priority 0; }')
    })
  }

  async #rule(rule: string): Promise<void> {
    await this.#each((name) => this.#namespaces.in(name, 'nft', `add rule inet mesh input ${rule}`))
  }

  async #each(work: (name: string) => Promise<void>): Promise<void> {
    for (let peer = 0; peer < this.#count; peer++) await work(String(peer))
  }
}
