import { Namespaces } from '../network/namespaces.ts'
import type { ClusterNetwork, ServerPlace, SlowLine } from './cluster-network.ts'

/** One port for all: each server has addresses of its own. */
const PORT = 4_600
/** Last address that clients' half and servers' half of a network have for the switch. */
const CLIENTS_END = 126
const SERVERS_START = 128
/** A few packets: what a line of some Mbit/s sends in one go. */
const BURST_BYTES = 8_192
/** Longest queue in front of a slow line. Beyond, packets are dropped, and TCP slows down. */
const QUEUE_MS = 200

/**
 * Each server in a network namespace of its own, with two interfaces:
 *
 *   this process ── clients' bridge ── "clients" of every server
 *                   servers' bridge ── "servers" of every server
 *
 * Both bridges are in one more namespace. A cut is an nft rule that drops what comes from the other server, on both sides;
 * a slow line is a token bucket in both directions of the "servers" interface, so clients never notice either by themselves.
 */
export class NamespaceNetwork implements ClusterNetwork {
  readonly name = 'in network namespaces'
  readonly notes: string[] = []
  readonly #namespaces: Namespaces
  readonly #count: number

  private constructor(namespaces: Namespaces, count: number) {
    this.#namespaces = namespaces
    this.#count = count
  }

  static async open(servers: number): Promise<NamespaceNetwork> {
    const network = new NamespaceNetwork(await Namespaces.open(['clients', 'servers']), servers)
    try {
      await network.#build()
    } catch (error) {
      await network.close()
      throw error
    }
    return network
  }

  place(server: number): ServerPlace {
    const own = this.#clientsAddress(server)
    const allowedHosts = [`${own}:${PORT}`, `${this.#serversAddress(server)}:${PORT}`]
    return { host: '0.0.0.0', port: PORT, origin: `http://${own}:${PORT}`, allowedHosts }
  }

  route(_from: number, to: number): string {
    return `${this.#serversAddress(to)}:${PORT}`
  }

  launcher(server: number): readonly string[] {
    return this.#namespaces.launcher(String(server))
  }

  async cut(one: number, other: number): Promise<void> {
    await this.#drop(one, other)
    await this.#drop(other, one)
  }

  async heal(one: number, other: number): Promise<void> {
    await this.#pass(one, other)
    await this.#pass(other, one)
  }

  async slow(server: number, line?: SlowLine): Promise<void> {
    const name = String(server)
    await this.#shape(name, 'servers', line)
    await this.#shape(this.#namespaces.switch, this.#namespaces.port(name, 'servers'), line)
  }

  close(): Promise<void> {
    return this.#namespaces.close()
  }

  async #build(): Promise<void> {
    await this.#namespaces.join('clients', `${this.#namespaces.subnet}.${CLIENTS_END}/25`)
    for (let server = 0; server < this.#count; server++) await this.#attach(server)
  }

  async #attach(server: number): Promise<void> {
    const name = String(server)
    const clients = `${this.#clientsAddress(server)}/25`
    await this.#namespaces.add(name, { clients, servers: `${this.#serversAddress(server)}/25` })
    await this.#namespaces.in(name, 'nft', 'add table inet mesh')
    await this.#namespaces.in(name, 'nft', 'add chain inet mesh input { type filter hook input priority 0; }')
    await this.#namespaces.in(name, 'nft', 'add set inet mesh lost { type ipv4_addr; }')
    await this.#namespaces.in(name, 'nft', 'add rule inet mesh input ip saddr @lost drop')
  }

  async #drop(at: number, from: number): Promise<void> {
    await this.#namespaces.in(String(at), 'nft', `add element inet mesh lost { ${this.#serversAddress(from)} }`)
  }

  async #pass(at: number, from: number): Promise<void> {
    await this.#namespaces.in(String(at), 'nft', `delete element inet mesh lost { ${this.#serversAddress(from)} }`)
  }

  async #shape(namespace: string, device: string, line: SlowLine | undefined): Promise<void> {
    const qdisc = (verb: string, ...rest: string[]) =>
      this.#namespaces.in(namespace, 'tc', 'qdisc', verb, 'dev', device, ...rest)
    await qdisc('del', 'root').catch(() => {}) // there is none the first time
    if (line === undefined) return
    const rate = ['rate', `${line.kbitPerSecond}kbit`, 'burst', `${BURST_BYTES}b`, 'latency', `${QUEUE_MS}ms`]
    await qdisc('add', 'root', 'handle', '1:', 'tbf', ...rate)
    if (line.delayMs === 0) return
    try {
      await qdisc('add', 'parent', '1:', 'handle', '2:', 'netem', 'delay', `${line.delayMs}ms`)
    } catch {
      const note = `this kernel has no netem: slow lines were slow, but not ${line.delayMs} ms longer`
      if (!this.notes.includes(note)) this.notes.push(note)
    }
  }

  #clientsAddress(server: number): string {
    return `${this.#namespaces.subnet}.${server + 1}`
  }

  #serversAddress(server: number): string {
    return `${this.#namespaces.subnet}.${SERVERS_START + server + 1}`
  }
}
