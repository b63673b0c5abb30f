import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { ClusterNetwork, ServerPlace, SlowLine } from './cluster-network.ts'

const run = promisify(execFile)

/** One port for all: each server has addresses of its own. */
const PORT = 4_600
/** Namespaces of the kernel and the process they belong to: "mesh-4711-switch", "mesh-4711-0". */
const NAMESPACE = /^mesh-(\d+)-/
/** 198.18.0.0/15 is for benchmarks (RFC 2544), so nothing else routes it: 512 networks of 256 addresses, by process id. */
const NETWORKS = 512
/** Last address that clients' half and servers' half of a network have for the switch. */
const CLIENTS_END = 126
const SERVERS_START = 128
/** A few packets: what a line of some Mbit/s sends in one go. */
const BURST_BYTES = 8_192
/** Longest queue in front of a slow line. Beyond, packets are dropped, and TCP slows down. */
const QUEUE_MS = 200

/** Why namespaces cannot be had here; undefined when they can. */
export async function namespacesMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `this is ${process.platform}, and network namespaces are Linux`
  if (process.getuid?.() !== 0) return 'network namespaces take root'
  for (const [tool, flag] of [['ip', '-V'] as const, ['tc', '-V'] as const, ['nft', '-v'] as const]) {
    const found = await run(tool, [flag]).catch(() => undefined)
    if (found === undefined) return `${tool} is missing (Debian, Ubuntu: apt-get install iproute2 nftables)`
  }
  const probe = `mesh-${process.pid}-probe`
  try {
    await run('ip', ['netns', 'add', probe])
    await run('ip', ['netns', 'del', probe])
    return undefined
  } catch (error) {
    return `no namespace can be made: ${(error as Error).message.trim()}`
  }
}

/**
 * Each server in a network namespace of its own, with two interfaces:
 *
 *   this process ── clients' bridge ── "clients" of every server
 *                   servers' bridge ── "servers" of every server
 *
 * Both bridges are in one more namespace. A cut is an nft rule that drops what comes from the other server, on both sides;
 * a slow line is a token bucket in both directions of the "servers" interface, so clients never notice either by themselves.
 * Everything goes with its namespaces, those of a run that crashed when the next one starts.
 */
export class NamespaceNetwork implements ClusterNetwork {
  readonly name = 'in network namespaces'
  readonly notes: string[] = []
  readonly #prefix = `mesh-${process.pid}`
  readonly #uplink = `mesh${process.pid}`
  readonly #subnet = subnetOf(process.pid)
  readonly #count: number
  #closed = false

  private constructor(count: number) {
    this.#count = count
  }

  static async open(servers: number): Promise<NamespaceNetwork> {
    await sweep()
    const network = new NamespaceNetwork(servers)
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
    return ['ip', 'netns', 'exec', this.#namespace(server)]
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
    await this.#shape(this.#namespace(server), 'servers', line)
    await this.#shape(this.#switch, `s${server}`, line)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const name of await namespaces()) if (name.startsWith(`${this.#prefix}-`)) await remove(name)
    // The peer of the uplink went with the switch; this is for a run that ended before they were a pair.
    await run('ip', ['link', 'del', this.#uplink]).catch(() => {})
  }

  async #build(): Promise<void> {
    await run('ip', ['netns', 'add', this.#switch])
    for (const bridge of ['clients', 'servers']) {
      await this.#in(this.#switch, 'ip', 'link', 'add', bridge, 'type', 'bridge')
      await this.#in(this.#switch, 'ip', 'link', 'set', bridge, 'up')
    }
    await run('ip', ['link', 'add', this.#uplink, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', this.#switch])
    await this.#in(this.#switch, 'ip', 'link', 'set', 'uplink', 'master', 'clients', 'up')
    await run('ip', ['addr', 'add', `${this.#subnet}.${CLIENTS_END}/25`, 'dev', this.#uplink])
    await run('ip', ['link', 'set', this.#uplink, 'up'])
    for (let server = 0; server < this.#count; server++) await this.#attach(server)
  }

  async #attach(server: number): Promise<void> {
    const name = this.#namespace(server)
    await run('ip', ['netns', 'add', name])
    await this.#in(name, 'ip', 'link', 'set', 'lo', 'up')
    const lines = [
      ['clients', `c${server}`, this.#clientsAddress(server)],
      ['servers', `s${server}`, this.#serversAddress(server)],
    ] as const
    for (const [bridge, port, address] of lines) {
      await this.#in(this.#switch, 'ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', bridge, 'netns', name)
      await this.#in(this.#switch, 'ip', 'link', 'set', port, 'master', bridge, 'up')
      await this.#in(name, 'ip', 'addr', 'add', `${address}/25`, 'dev', bridge)
      await this.#in(name, 'ip', 'link', 'set', bridge, 'up')
    }
    await this.#in(name, 'nft', 'add table inet mesh')
    await this.#in(name, 'nft', 'add chain inet mesh input { type filter hook input priority 0; }')
    await this.#in(name, 'nft', 'add set inet mesh lost { type ipv4_addr; }')
    await this.#in(name, 'nft', 'add rule inet mesh input ip saddr @lost drop')
  }

  async #drop(at: number, from: number): Promise<void> {
    await this.#in(this.#namespace(at), 'nft', `add element inet mesh lost { ${this.#serversAddress(from)} }`)
  }

  async #pass(at: number, from: number): Promise<void> {
    await this.#in(this.#namespace(at), 'nft', `delete element inet mesh lost { ${this.#serversAddress(from)} }`)
  }

  async #shape(namespace: string, device: string, line: SlowLine | undefined): Promise<void> {
    const qdisc = (verb: string, ...rest: string[]) => this.#in(namespace, 'tc', 'qdisc', verb, 'dev', device, ...rest)
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

  get #switch(): string {
    return `${this.#prefix}-switch`
  }

  #namespace(server: number): string {
    return `${this.#prefix}-${server}`
  }

  #clientsAddress(server: number): string {
    return `${this.#subnet}.${server + 1}`
  }

  #serversAddress(server: number): string {
    return `${this.#subnet}.${SERVERS_START + server + 1}`
  }

  async #in(namespace: string, command: string, ...args: string[]): Promise<void> {
    await run('ip', ['netns', 'exec', namespace, command, ...args])
  }
}

function subnetOf(pid: number): string {
  const network = pid % NETWORKS
  return `198.${18 + (network >> 8)}.${network & 255}`
}

/** Removes what runs left behind that ended without `close`. */
async function sweep(): Promise<void> {
  for (const name of await namespaces()) {
    const owner = Number(NAMESPACE.exec(name)?.[1])
    if (owner > 0 && owner !== process.pid && !isAlive(owner)) await remove(name)
  }
}

/** Ends the programs in a namespace, and the namespace, whose interfaces go with it. */
async function remove(name: string): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'pids', name])
  for (const pid of stdout.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL')
  await run('ip', ['netns', 'del', name])
}

async function namespaces(): Promise<string[]> {
  const names = await readdir('/run/netns').catch(() => [])
  return names.filter((name) => NAMESPACE.test(name))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
