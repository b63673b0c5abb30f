import { freePort } from '../network/free-port.ts'
import type { ClusterNetwork, ServerPlace, SlowLine } from './cluster-network.ts'
import { Relay } from './relay.ts'

/** Servers on 127.0.0.1 with a relay for each of them to each other: works for every user on every system. */
export class LoopbackNetwork implements ClusterNetwork {
  readonly name = 'on loopback'
  readonly notes: readonly string[] = []
  readonly #ports: readonly number[]
  /** By dialling server, then by dialled server. */
  readonly #relays: readonly (readonly (Relay | undefined)[])[]

  private constructor(ports: readonly number[], relays: readonly (readonly (Relay | undefined)[])[]) {
    this.#ports = ports
    this.#relays = relays
  }

  static async open(servers: number): Promise<LoopbackNetwork> {
    const ports: number[] = []
    while (ports.length < servers) {
      const port = await freePort()
      if (!ports.includes(port)) ports.push(port)
    }
    const row = (from: number): Promise<(Relay | undefined)[]> =>
      Promise.all(ports.map((port, to) => (to === from ? undefined : Relay.to(port))))
    return new LoopbackNetwork(ports, await Promise.all(ports.map((_, from) => row(from))))
  }

  place(server: number): ServerPlace {
    const port = this.#ports[server] as number
    const relayed = this.#relays.flatMap((row) => row[server] ?? [])
    const allowedHosts = [`127.0.0.1:${port}`, ...relayed.map((relay) => `127.0.0.1:${relay.port}`)]
    return { host: '127.0.0.1', port, origin: `http://127.0.0.1:${port}`, allowedHosts }
  }

  route(from: number, to: number): string {
    return `127.0.0.1:${this.#between(from, to).port}`
  }

  launcher(): readonly string[] {
    return []
  }

  async cut(one: number, other: number): Promise<void> {
    this.#between(one, other).cut()
    this.#between(other, one).cut()
  }

  async heal(one: number, other: number): Promise<void> {
    this.#between(one, other).heal()
    this.#between(other, one).heal()
  }

  async slow(server: number, line?: SlowLine): Promise<void> {
    for (const [other] of this.#ports.entries()) {
      if (other === server) continue
      this.#between(server, other).slow(line)
      this.#between(other, server).slow(line)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#relays.flat().map((relay) => relay?.close()))
  }

  #between(from: number, to: number): Relay {
    const relay = this.#relays[from]?.[to]
    if (relay === undefined) throw new Error(`there is no line from server ${from} to server ${to}`)
    return relay
  }
}
