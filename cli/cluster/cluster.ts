import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { toHex } from '@mesh/core'
import { formatServerAddress } from '@mesh/server'
import { CommandError } from '../failure.ts'
import { openServerKey } from '../server-key.ts'
import type { ClusterCommand } from './cluster-commands.ts'
import type { ClusterDisplay, Contact } from './cluster-display.ts'
import { ClusterServer, type ServerEvent } from './cluster-server.ts'
import { readPage, type ServerView } from './cluster-view.ts'

export interface ClusterLayout {
  readonly servers: number
  /** Port of the first; the others follow. 0 takes any free ones. */
  readonly port: number
  /** Keys and logs. */
  readonly folder: string
  /** Further options of `mesh serve`, the same for all. */
  readonly options: readonly string[]
}

/** What is told about other servers, by the name of the event. */
const CONTACTS: ReadonlyMap<string, Contact['kind']> = new Map([
  ['server-connected', 'connected'],
  ['server-lost', 'lost'],
  ['server-refused', 'refused'],
])

const REALM = 'cluster'

/** Linux gives outgoing connections ports from 32,768 on, other systems from 49,152. */
const FIRST_FREE_PORT = 10_000
const LAST_FREE_PORT = 30_000
const MAX_PORT = 65_535

/** Servers on this machine that federate with each other, each in a process of its own. */
export class Cluster {
  readonly servers: readonly ClusterServer[]

  private constructor(servers: readonly ClusterServer[]) {
    this.servers = servers
  }

  /** Makes keys and chooses ports; nothing is started. `program`: what runs `mesh`, without a command. */
  static async prepare(
    layout: ClusterLayout,
    program: readonly string[],
    display: Pick<ClusterDisplay, 'state' | 'contact'>,
  ): Promise<Cluster> {
    const members = await prepareMembers(layout)
    const numberOf = (key: string): number | undefined => members.find((member) => member.key === key)?.number
    const onEvent = (server: ClusterServer, event: ServerEvent): void => {
      const kind = CONTACTS.get(event.event)
      const other = String(event.server)
      const why = event.message ?? event.reason
      if (kind !== undefined)
        display.contact(server, {
          kind,
          other: numberOf(other) ?? other,
          reason: why === undefined ? undefined : String(why),
        })
    }
    const servers = members.map(({ number, keyFile, key, port }) => {
      const others = members.filter((other) => other.number !== number)
      const command = [
        ...[...program, 'serve', '--json', '--until-eof', '--log', 'info', '--metrics'],
        ...['--host', '127.0.0.1', '--port', String(port), '--key-file', keyFile, '--realm', REALM],
        ...others.flatMap(({ address }) => ['--federate', address]),
        ...layout.options,
      ]
      const logFile = join(layout.folder, `server-${number}.log`)
      const onState = (server: ClusterServer): void => display.state(server)
      return new ClusterServer({ number, key, port, command, logFile, onState, onEvent })
    })
    return new Cluster(servers)
  }

  /** Rejects with what is wrong with the first that does not start; the others are then stopped. */
  async start(): Promise<void> {
    try {
      await Promise.all(this.servers.map((server) => server.start()))
    } catch (error) {
      for (const server of this.servers) server.kill()
      await this.stop()
      throw error
    }
  }

  /** Resolves when all processes are gone. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()))
  }

  /** Rejects when a server does not start again. */
  async obey({ verb, number }: Exclude<ClusterCommand, { verb: 'quit' }>): Promise<void> {
    const server = this.servers[number - 1]
    if (server === undefined) return
    if (verb === 'kill') server.kill()
    else if (verb === 'suspend') server.suspend()
    else if (verb === 'continue') server.resume()
    else if (server.state.kind !== 'starting' && server.state.kind !== 'stopping') {
      await server.stop()
      await server.start()
    }
  }

  /** Asks every server that can answer. */
  async look(): Promise<ServerView[]> {
    return Promise.all(
      this.servers.map(async (server) => {
        const page = server.state.kind === 'running' ? await readPage(server.port) : undefined
        const { number, key, port, pid, state } = server
        return { number, key, port, pid, state: state.kind, page }
      }),
    )
  }
}

interface Member {
  readonly number: number
  readonly key: string
  readonly keyFile: string
  readonly port: number
  /** What the others are given. */
  readonly address: string
}

async function prepareMembers({ servers, port, folder }: ClusterLayout): Promise<Member[]> {
  const ports = port === 0 ? await freePorts(servers) : Array.from({ length: servers }, (_, index) => port + index)
  return Promise.all(
    ports.map(async (own, index) => {
      const keyFile = join(folder, `server-${index + 1}.key`)
      const { publicKey } = await openServerKey(keyFile)
      const address = formatServerAddress({ key: publicKey, url: `http://127.0.0.1:${own}` })
      return { number: index + 1, key: toHex(publicKey), keyFile, port: own, address }
    }),
  )
}

/**
 * Ports that nobody listens on, below those that systems give to outgoing connections: there one could be taken again by the
 * calls of the servers that start first.
 */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  for (let port = randomInt(FIRST_FREE_PORT, LAST_FREE_PORT); ports.length < count; port++) {
    if (port > MAX_PORT) throw new CommandError('EADDRINUSE', `there are no ${count} free ports`)
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
