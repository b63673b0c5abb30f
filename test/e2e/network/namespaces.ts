import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Namespaces of the kernel and the process they belong to: "mesh-4711-switch", "mesh-4711-0". */
const NAMESPACE = /^mesh-(\d+)-/
/** 198.18.0.0/15 is for benchmarks (RFC 2544), so nothing else routes it: 512 networks of 256 addresses, by process id. */
const NETWORKS = 512
/** Where the bridges are. */
const SWITCH = 'switch'

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
 * The network namespaces of this process, by short names, joined by bridges in one more of them. Everything goes with its
 * namespaces: with `close`, or when the next run starts after one that crashed.
 */
export class Namespaces {
  /** The first three parts of all addresses. */
  readonly subnet = subnetOf(process.pid)
  /** The namespace of the bridges. */
  readonly switch = SWITCH
  readonly #prefix = `mesh-${process.pid}`
  readonly #uplink = `mesh${process.pid}`
  #closed = false

  /** Removes what runs left behind that ended without `close`, and makes the bridges. */
  static async open(bridges: readonly string[]): Promise<Namespaces> {
    for (const name of await namespaces()) {
      const owner = Number(NAMESPACE.exec(name)?.[1])
      if (owner > 0 && owner !== process.pid && !isAlive(owner)) await remove(name)
    }
    const made = new Namespaces()
    await made.#add(SWITCH)
    for (const bridge of bridges) {
      await made.in(SWITCH, 'ip', 'link', 'add', bridge, 'type', 'bridge')
      await made.in(SWITCH, 'ip', 'link', 'set', bridge, 'up')
    }
    return made
  }

  /** Command that starts a program in a namespace; the program follows. */
  launcher(name: string): readonly string[] {
    return ['ip', 'netns', 'exec', this.#full(name)]
  }

  /** Runs a program in a namespace to its end. */
  async in(name: string, command: string, ...args: string[]): Promise<void> {
    await run('ip', ['netns', 'exec', this.#full(name), command, ...args])
  }

  /** Makes a namespace with a loopback and, for every bridge named, an interface of that name and address. */
  async add(name: string, interfaces: Readonly<Record<string, string>>): Promise<void> {
    await this.#add(name)
    await this.in(name, 'ip', 'link', 'set', 'lo', 'up')
    for (const [bridge, address] of Object.entries(interfaces)) {
      const port = this.port(name, bridge)
      const peer = ['peer', 'name', bridge, 'netns', this.#full(name)]
      await this.in(SWITCH, 'ip', 'link', 'add', port, 'type', 'veth', ...peer)
      await this.in(SWITCH, 'ip', 'link', 'set', port, 'master', bridge, 'up')
      await this.in(name, 'ip', 'addr', 'add', address, 'dev', bridge)
      await this.in(name, 'ip', 'link', 'set', bridge, 'up')
    }
  }

  /** The switch's end of the line between a namespace and a bridge. */
  port(name: string, bridge: string): string {
    return `${bridge.slice(0, 8)}-${name}`
  }

  /** Puts this process on a bridge. */
  async join(bridge: string, address: string): Promise<void> {
    const peer = ['peer', 'name', 'uplink', 'netns', this.#full(SWITCH)]
    await run('ip', ['link', 'add', this.#uplink, 'type', 'veth', ...peer])
    await this.in(SWITCH, 'ip', 'link', 'set', 'uplink', 'master', bridge, 'up')
    await run('ip', ['addr', 'add', address, 'dev', this.#uplink])
    await run('ip', ['link', 'set', this.#uplink, 'up'])
  }

  /** Ends the programs in all of them, and removes them. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const name of await namespaces()) if (name.startsWith(`${this.#prefix}-`)) await remove(name)
    // The peer of the uplink went with the switch; this is for a run that ended before they were a pair.
    await run('ip', ['link', 'del', this.#uplink]).catch(() => {})
  }

  async #add(name: string): Promise<void> {
    await run('ip', ['netns', 'add', this.#full(name)])
  }

  #full(name: string): string {
    return `${this.#prefix}-${name}`
  }
}

function subnetOf(pid: number): string {
  const network = pid % NETWORKS
  return `198.${18 + (network >> 8)}.${network & 255}`
}

/** Ends the programs in a namespace, and the namespace, whose interfaces go with it. */
async function remove(name: string): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'pids', name])
  for (const pid of stdout.split('\n').filter(Boolean)) kill(Number(pid))
  await run('ip', ['netns', 'del', name])
}

/** A program may end by itself meanwhile. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
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
