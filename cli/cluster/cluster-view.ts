import { get } from 'node:http'
import type { ServerState } from './cluster-server.ts'

/** What GET /federation answers. */
export interface FederationPage {
  readonly stats: Readonly<Record<string, number>>
  readonly origins: readonly OriginOnPage[]
  readonly neighbours: readonly { readonly key: string; readonly directory: boolean; readonly messages: boolean }[]
}

interface OriginOnPage {
  readonly key: string
  readonly epoch: string
  readonly seq: string
  readonly head: string
  readonly lag: number
  readonly rows: number
  readonly digest: string
  readonly state: 'live' | 'hidden'
  /** Key of the server that passes it on; not there where it is heard itself. */
  readonly via?: string
  readonly msSinceState: number
}

/** One server of the cluster at one moment. */
export interface ServerView {
  readonly number: number
  readonly key: string
  readonly port: number
  readonly pid: number | undefined
  readonly state: ServerState['kind']
  /** Undefined while it does not answer. */
  readonly page: FederationPage | undefined
}

/** How one server sees one origin. */
export interface OriginView {
  /** Number of the origin in this cluster; undefined for a stranger. */
  readonly of: number | undefined
  readonly own: boolean
  readonly state: 'live' | 'hidden'
  readonly epoch: string
  readonly rows: number
  /** Entries of the origin's log that it has not applied. */
  readonly lag: number
  readonly digest: string
  /** Whether the rows are those of the origin; undefined while that cannot be said. */
  readonly agrees: boolean | undefined
  /** The server that passes it on: its number, or its key when it is none of the cluster. Undefined where it is heard itself. */
  readonly via: number | string | undefined
  readonly msSinceState: number
}

const ANSWER_MS = 1_000

/** Larger than 64 origins at 400 bytes each. */
const MAX_PAGE_BYTES = 256 * 1_024

/** Asks a server on this machine how it stands; undefined when it does not say within a second. */
export function readPage(port: number): Promise<FederationPage | undefined> {
  return new Promise((resolve) => {
    // A connection each: the server closes those that stay without an authenticated call.
    const request = get({ host: '127.0.0.1', port, path: '/federation', agent: false, timeout: ANSWER_MS })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(undefined))
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        if (text.length > MAX_PAGE_BYTES) request.destroy()
      })
      response.on('close', () => resolve(pageOf(text)))
    })
  })
}

function pageOf(text: string): FederationPage | undefined {
  try {
    const { stats, origins = [], neighbours = [] } = JSON.parse(text) as Partial<FederationPage>
    return stats && { stats, origins, neighbours }
  } catch {
    return undefined // Cut short: the server went away while it answered.
  }
}

/** What `observer` sees, its own origin first, then in the order of the cluster. */
export function originsSeenBy(observer: ServerView, servers: readonly ServerView[]): OriginView[] {
  const views = (observer.page?.origins ?? []).map((seen): OriginView => {
    const server = servers.find(({ key }) => key === seen.key)
    const own = server?.page?.origins.find(({ key }) => key === seen.key)
    const comparable = own !== undefined && own.epoch === seen.epoch
    return {
      of: server?.number,
      own: server === observer,
      state: seen.state,
      epoch: seen.epoch,
      rows: seen.rows,
      lag: comparable ? Math.max(seen.lag, Number(BigInt(own.seq) - BigInt(seen.seq))) : seen.lag,
      digest: seen.digest,
      agrees: comparable && own.seq === seen.seq ? own.digest === seen.digest : undefined,
      via: servers.find(({ key }) => key === seen.via)?.number ?? seen.via,
      msSinceState: seen.msSinceState,
    }
  })
  const rank = ({ own, of = Number.POSITIVE_INFINITY }: OriginView): number => (own ? 0 : of)
  return views.sort((a, b) => rank(a) - rank(b) || 0)
}

/** Streams with other servers that are up, of those there are when all are connected. */
export function streamsOf({ page }: ServerView, servers: readonly ServerView[]): { up: number; all: number } {
  const up = (page?.neighbours ?? []).reduce(
    (sum, { directory, messages }) => sum + Number(directory) + Number(messages),
    0,
  )
  return { up, all: 2 * (servers.length - 1) }
}
