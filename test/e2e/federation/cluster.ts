import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readKeyFile } from '@mesh/client/node'
import { toHex } from '@mesh/core'
import { MeshProcess } from '../cli/mesh-process.ts'
import type { ClusterNetwork } from './cluster-network.ts'

const REALM = 'cluster'
/** Longest time for a server to start, on a machine that runs tests. */
const START_MS = 20_000
const POLL_MS = 50

/** One origin as /federation of a server shows it. */
export interface OriginView {
  readonly key: string
  readonly epoch: string
  readonly seq: string
  readonly head: string
  readonly rows: number
  readonly digest: string
  readonly state: 'live' | 'hidden'
  /** Key of the server that passes it on, while it is not heard itself. */
  readonly via?: string
}

/** What /federation of a server answers. */
export interface FederationView {
  readonly origins: readonly OriginView[]
  readonly neighbours: readonly { readonly key: string; readonly directory: boolean; readonly messages: boolean }[]
}

/** `mesh serve` in a process of its own, and again under the same key and address after each end. */
export class ClusterServer {
  readonly index: number
  readonly key: string
  readonly origin: string
  readonly #args: readonly string[]
  readonly #folder: string
  readonly #launcher: readonly string[]
  #process: MeshProcess | undefined
  #isCrashed = false
  /** Logs of former processes; the current one's are in its own. */
  #log = ''

  constructor(index: number, key: string, network: ClusterNetwork, folder: string, args: readonly string[]) {
    this.index = index
    this.key = key
    this.origin = network.place(index).origin
    this.#launcher = network.launcher(index)
    this.#folder = folder
    this.#args = args
  }

  /** Everything the server wrote on stderr so far, over all its processes. */
  get log(): string {
    return this.#log + (this.#process?.stderr ?? '')
  }

  /** Whether a process of it ended that nobody had asked to. */
  get isCrashed(): boolean {
    return this.#isCrashed
  }

  async start(): Promise<void> {
    const env = { MESH_HOME: this.#folder, MESH_SERVER: '', MESH_DEBUG: '' }
    const started = new MeshProcess(this.#args, env, this.#launcher)
    this.#process = started
    void started.exited.then(() => {
      if (this.#process === started) this.#isCrashed = true
    })
    await within(START_MS, `server ${this.index} to listen`, started.event('listening'))
  }

  /** Ends without a word, and loses all it held. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Drains and ends: what an operator does before an update. */
  async stop(): Promise<void> {
    const code = await this.#end('SIGTERM')
    if (code !== 0) throw new Error(`server ${this.index} ended with ${code} after SIGTERM: ${this.log}`)
  }

  /** Stands still, as a suspended machine does: its connections stay, nothing is answered. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async view(): Promise<FederationView> {
    // A connection for each: one that is kept is closed by the server after a while (unauthenticated_ms), maybe just now.
    const response = await fetch(`${this.origin}/federation`, { headers: { connection: 'close' } })
    if (!response.ok) throw new Error(`/federation of server ${this.index}: ${response.status}`)
    return (await response.json()) as FederationView
  }

  async #end(signal: NodeJS.Signals): Promise<number> {
    const ending = this.#process
    if (ending === undefined) return 0
    this.#process = undefined
    ending.kill(signal)
    const code = await ending.exited
    this.#log += ending.stderr
    return code
  }
}

export interface ClusterOptions {
  readonly servers: number
  /** Further arguments of `mesh serve`. */
  readonly args?: readonly string[]
}

/** Real servers that federate, each with the others, over a network that can fail. */
export class Cluster {
  readonly network: ClusterNetwork
  readonly servers: readonly ClusterServer[]
  readonly #folder: string

  private constructor(network: ClusterNetwork, servers: readonly ClusterServer[], folder: string) {
    this.network = network
    this.servers = servers
    this.#folder = folder
  }

  /** Starts the servers and waits until all of them see each other. The network belongs to the cluster from then on. */
  static async start(network: ClusterNetwork, options: ClusterOptions): Promise<Cluster> {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-cluster-'))
    const places = Array.from({ length: options.servers }, (_, index) => join(folder, `${index}.key`))
    const keys = await Promise.all(places.map(async (file) => toHex((await readKeyFile(file)).publicKey)))
    const servers = keys.map((key, index) => {
      const args = serveArgs(network, keys, index, places[index] as string)
      return new ClusterServer(index, key, network, folder, [...args, ...(options.args ?? [])])
    })
    const cluster = new Cluster(network, servers, folder)
    try {
      await Promise.all(servers.map((server) => server.start()))
      await cluster.converged()
    } catch (error) {
      await cluster.close()
      throw error
    }
    return cluster
  }

  server(index: number): ClusterServer {
    const found = this.servers[index]
    if (found === undefined) throw new Error(`there is no server ${index}`)
    return found
  }

  /** Waits until the given servers (default: all) hear each other and hold the same, all streams up; resolves with the time it took. */
  async converged(among: readonly ClusterServer[] = this.servers, limitMs = 30_000): Promise<number> {
    const startedMs = performance.now()
    let last: unknown
    while (performance.now() - startedMs < limitMs) {
      const views = await Promise.all(among.map((server) => server.view())).catch((error: unknown) => {
        last = error
        return []
      })
      if (views.length > 0) {
        const difference = differenceOf(views, among)
        if (difference === undefined) return performance.now() - startedMs
        last = difference
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    const logs = this.servers.map(({ index, log }) => `server ${index}:\n${log}`).join('\n')
    throw new Error(`the servers did not converge within ${limitMs} ms: ${String(last)}\n${logs}`)
  }

  /** Resolves when a server has given up a stream to another one; with the time it took. */
  async lost(from: number, to: number): Promise<number> {
    return this.#until(from, `it lost server ${to}`, ({ neighbours }) => {
      const neighbour = neighbours.find(({ key }) => key === this.server(to).key)
      return neighbour?.directory !== true || !neighbour.messages
    })
  }

  /** Resolves when a server hears of another one through a third; with the time it took. */
  async detour(from: number, to: number): Promise<number> {
    return this.#until(from, `it hears server ${to} through another one`, ({ origins }) =>
      origins.some(({ key, via }) => key === this.server(to).key && via !== undefined),
    )
  }

  async #until(at: number, what: string, isSo: (view: FederationView) => boolean, limitMs = 30_000): Promise<number> {
    const startedMs = performance.now()
    while (!isSo(await this.server(at).view())) {
      if (performance.now() - startedMs > limitMs) throw new Error(`server ${at}: not within ${limitMs} ms: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return performance.now() - startedMs
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()))
    await this.network.close()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

function serveArgs(network: ClusterNetwork, keys: readonly string[], index: number, keyFile: string): string[] {
  const { host, port, allowedHosts } = network.place(index)
  const others = keys.flatMap((key, other) =>
    other === index ? [] : `mesh+grpc://${key}@${network.route(index, other)}`,
  )
  return [
    'serve',
    ...['--json', '--host', host, '--port', String(port), '--key-file', keyFile, '--metrics'],
    ...allowedHosts.flatMap((name) => ['--allowed-host', name]),
    ...['--realm', REALM],
    ...others.flatMap((address) => ['--federate', address]),
  ]
}

/** What is not the same at all servers, in words. */
function differenceOf(views: readonly FederationView[], servers: readonly ClusterServer[]): string | undefined {
  for (const [at, view] of views.entries()) {
    for (const [home, { key }] of servers.entries()) {
      const name = `server ${servers[at]?.index} about server ${servers[home]?.index}`
      const truth = views[home]?.origins.find((origin) => origin.key === key)
      const replica = view.origins.find((origin) => origin.key === key)
      if (truth === undefined || replica === undefined) return `${name}: nothing yet`
      if (replica.state !== 'live') return `${name}: ${replica.state}`
      if (replica.via !== undefined) return `${name}: heard through another one`
      for (const field of ['epoch', 'seq', 'rows', 'digest'] as const) {
        if (replica[field] !== truth[field]) return `${name}: ${field} is ${replica[field]}, not ${truth[field]}`
      }
      const neighbour = view.neighbours.find((other) => other.key === key)
      if (at !== home && !(neighbour?.directory && neighbour.messages)) return `${name}: not connected`
    }
  }
  return undefined
}

async function within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms for ${what}`)), limitMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
