import { partyFromName } from '@mesh/core'
import type { Cluster } from './cluster.ts'
import { Ledger } from './ledger.ts'
import { SdkPeer } from './sdk-peer.ts'
import { SignalPeer } from './signal-peer.ts'

export interface CrowdOptions {
  /** Peers with a session at each server, speaking the protocol. */
  readonly signalPeersPerServer: number
  /** Peers that use the SDK. */
  readonly sdkPeersPerServer: number
  /** Which servers the peer of a server knows, its own first. Default: its own alone. */
  readonly serversOf?: (server: number) => readonly number[]
  /** Between two messages of one peer. */
  readonly intervalMs?: number
}

/** 5 messages a second: a quarter of what the servers take from one peer to one other. */
const INTERVAL_MS = 200
/** A message is offered for 30 s at most. */
const SETTLE_MS = 35_000
const POLL_MS = 50
/** Longest wait for everybody to hear of somebody. */
const HEARD_MS = 10_000

/** Peers spread over the servers of a cluster that talk without a pause, each to any other of its kind. */
export class Crowd {
  readonly signalPeers: readonly SignalPeer[]
  readonly sdkPeers: readonly SdkPeer[]
  /** What the servers said, as clients that follow the protocol hear it. */
  readonly signals: Ledger
  /** What the SDK said to its application. */
  readonly links: Ledger
  readonly #home: ReadonlyMap<string, number>
  readonly #intervalMs: number
  readonly #start: (name: string, server: number) => Promise<SignalPeer>
  readonly #guests: SignalPeer[] = []
  readonly #talking = new Map<SignalPeer | SdkPeer, NodeJS.Timeout>()
  readonly #gone = new Set<SignalPeer | SdkPeer>()

  private constructor(
    parts: Pick<Crowd, 'signalPeers' | 'sdkPeers' | 'signals' | 'links'>,
    home: ReadonlyMap<string, number>,
    intervalMs: number,
    start: (name: string, server: number) => Promise<SignalPeer>,
  ) {
    this.signalPeers = parts.signalPeers
    this.sdkPeers = parts.sdkPeers
    this.signals = parts.signals
    this.links = parts.links
    this.#home = home
    this.#intervalMs = intervalMs
    this.#start = start
  }

  /** Resolves when every peer sees every other of its kind. */
  static async gather(cluster: Cluster, options: CrowdOptions): Promise<Crowd> {
    const { signalPeersPerServer, sdkPeersPerServer, intervalMs = INTERVAL_MS } = options
    const serversOf = options.serversOf ?? ((server) => [server])
    const names = new Map<string, string>()
    const home = new Map<string, number>()
    const signals = new Ledger()
    const links = new Ledger()
    const party = `crowd-${Math.random()}`
    const { topic } = await partyFromName(`signals-${party}`)
    const each = <T>(
      count: number,
      kind: string,
      start: (name: string, origins: string[]) => Promise<T>,
    ): Promise<T[]> =>
      Promise.all(
        cluster.servers.flatMap(({ index }) =>
          Array.from({ length: count }, (_, number) => {
            const name = `${kind}${number}@${index}`
            home.set(name, index)
            return start(
              name,
              serversOf(index).map((server) => cluster.server(server).origin),
            )
          }),
        ),
      )
    const startSignalPeer = (name: string, origins: string[]): Promise<SignalPeer> =>
      SignalPeer.start({ name, origins, topic, ledger: signals, names })
    const signalPeers = await each(signalPeersPerServer, 'signal', startSignalPeer)
    const sdkPeers = await each(sdkPeersPerServer, 'sdk', (name, servers) =>
      SdkPeer.start({ name, servers, party, ledger: links, names }),
    )
    const start = (name: string, server: number): Promise<SignalPeer> =>
      startSignalPeer(name, [cluster.server(server).origin])
    const crowd = new Crowd({ signalPeers, sdkPeers, signals, links }, home, intervalMs, start)
    await crowd.complete()
    return crowd
  }

  /** The server a peer is at, or was at first. */
  homeOf(name: string): number {
    const server = this.#home.get(name)
    if (server === undefined) throw new Error(`there is no ${name}`)
    return server
  }

  /** Messages between different servers, or between two certain ones. */
  readonly across = (from: string, to: string): boolean => this.homeOf(from) !== this.homeOf(to)

  readonly between =
    (one: number, other: number) =>
    (from: string, to: string): boolean => {
      const homes = [this.homeOf(from), this.homeOf(to)]
      return homes.includes(one) && homes.includes(other) && one !== other
    }

  /** Waits until every peer that is there sees every other that is; resolves with the time it took. */
  async complete(limitMs = 30_000): Promise<number> {
    const startedMs = performance.now()
    for (;;) {
      const missing = missingOf(this.#present(this.signalPeers)) ?? missingOf(this.#present(this.sdkPeers))
      if (missing === undefined) return performance.now() - startedMs
      if (performance.now() - startedMs > limitMs) throw new Error(`not within ${limitMs} ms: ${missing}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  /** Somebody comes to a server, says nothing, and goes: how long it took until all signal peers of another server had heard of each. */
  async visit(server: number, other: number): Promise<{ joinedMs: number; leftMs: number }> {
    const name = `guest${this.#guests.length}@${server}`
    const observers = this.signalPeers.map((peer) => peer.name).filter((peer) => this.homeOf(peer) === other)
    const cameAtMs = performance.now()
    const guest = await this.#start(name, server)
    this.#guests.push(guest)
    const joinedMs = await latest(() => this.signals.arrivalMs(name, observers, cameAtMs))
    await guest.leave()
    const leftMs = await latest(() => this.signals.ghostMs(name, observers))
    return { joinedMs, leftMs }
  }

  /** Everybody begins to talk, at different moments. */
  talk(): void {
    for (const peer of this.signalPeers) this.#talk(peer, this.signalPeers)
    for (const peer of this.sdkPeers) this.#talk(peer, this.sdkPeers)
  }

  /** Some peers are gone without a word, as if their machines were off. */
  async vanish(peers: readonly SignalPeer[]): Promise<void> {
    for (const peer of peers) {
      this.#hush(peer)
      this.#gone.add(peer)
    }
    await Promise.all(peers.map((peer) => peer.vanish()))
  }

  /** Everybody stops, and every message has its outcome and the time to arrive. */
  async settle(): Promise<void> {
    for (const peer of [...this.#talking.keys()]) this.#hush(peer)
    const deadlineMs = performance.now() + SETTLE_MS
    const peers = [...this.#present(this.signalPeers), ...this.#present(this.sdkPeers)]
    while (peers.some((peer) => peer.pendingCount > 0) && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    // What was reported is on the streams; this is for the streams to be read.
    await new Promise((resolve) => setTimeout(resolve, 500))
  }

  async close(): Promise<void> {
    for (const peer of [...this.#talking.keys()]) this.#hush(peer)
    await Promise.all([...this.signalPeers, ...this.sdkPeers, ...this.#guests].map((peer) => peer.close()))
  }

  #present<P extends SignalPeer | SdkPeer>(peers: readonly P[]): P[] {
    return peers.filter((peer) => !this.#gone.has(peer))
  }

  #hush(peer: SignalPeer | SdkPeer): void {
    clearTimeout(this.#talking.get(peer))
    this.#talking.delete(peer)
  }

  #talk<P extends SignalPeer | SdkPeer>(peer: P & { send(to: P): void }, peers: readonly P[]): void {
    const next = (): void => {
      const others = this.#present(peers).filter((other) => other !== peer)
      const to = others[Math.floor(Math.random() * others.length)]
      if (to !== undefined) peer.send(to)
      this.#talking.set(peer, setTimeout(next, this.#intervalMs * (0.5 + Math.random())))
    }
    this.#talking.set(peer, setTimeout(next, this.#intervalMs * Math.random()))
  }
}

/** The largest of some times, once all of them are there; infinity when they do not come. */
async function latest(times: () => readonly number[]): Promise<number> {
  const startedMs = performance.now()
  while (!times().every(Number.isFinite) && performance.now() - startedMs < HEARD_MS) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return Math.max(...times())
}

function missingOf(
  peers: readonly { readonly name: string; readonly view: ReadonlySet<string> }[],
): string | undefined {
  for (const { name, view } of peers) {
    const absent = peers.find((other) => other.name !== name && !view.has(other.name))
    if (absent !== undefined) return `${name} does not see ${absent.name}`
  }
  return undefined
}
