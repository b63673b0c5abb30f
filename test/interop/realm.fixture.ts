import { randomBytes } from 'node:crypto'
import { generateSigningKey } from '@mesh/core'
import type { LogFields, ServerOptions } from '@mesh/server'
import { eventually, type Served } from '@mesh/server/testing'
import { encode, Key, type Row } from './replicate-messages.fixture.ts'
import type { Target } from './replicate-stream.fixture.ts'

export const REALM = 'interop'

type Serve = (options?: ServerOptions) => Promise<Served>

/** One line of a server's log. */
export interface LogEntry {
  readonly event: string
  readonly fields: LogFields
}

/** One of our own servers, as the foreign one knows it, and what it says of the realm. */
export class RealmServer {
  readonly served: Served
  readonly target: Target
  readonly log: readonly LogEntry[]

  constructor(served: Served, key: Uint8Array, log: readonly LogEntry[]) {
    this.served = served
    this.target = { key: Buffer.from(key), address: `127.0.0.1:${served.port}` }
    this.log = log
  }

  get key(): Buffer {
    return this.target.key
  }

  async federation(): Promise<FederationPage> {
    return (await fetch(`${this.served.origin}/federation`)).json() as Promise<FederationPage>
  }

  /** How this server sees the peers of another one. */
  async originOf(server: Buffer): Promise<FederationPage['origins'][number] | undefined> {
    const { origins } = await this.federation()
    return origins.find(({ key }) => key === server.toString('hex'))
  }

  /** How this server sees its streams with another one. */
  async neighbour(server: Buffer): Promise<FederationPage['neighbours'][number] | undefined> {
    const { neighbours } = await this.federation()
    return neighbours.find(({ key }) => key === server.toString('hex'))
  }
}

/** What GET /federation answers, as far as it matters here. */
export interface FederationPage {
  readonly origins: readonly {
    readonly key: string
    readonly state: string
    readonly epoch: string
    readonly seq: string
    readonly head: string
    readonly lag: number
    readonly rows: number
    readonly digest: string
  }[]
  readonly neighbours: readonly ({
    readonly key: string
    readonly directory: boolean
    readonly messages: boolean
  } & Record<string, unknown>)[]
}

/** Starts two servers that federate with each other and take the calls of servers with these keys. */
export async function startRealm(
  serve: Serve,
  foreign: readonly Buffer[],
  options: ServerOptions = {},
): Promise<[RealmServer, RealmServer]> {
  const keys = await Promise.all([generateSigningKey(), generateSigningKey()])
  const start = async (index: 0 | 1, servers: { key: Uint8Array; url: string }[]) => {
    const log: LogEntry[] = []
    const logged = (_level: string, event: string, fields: LogFields = {}) => void log.push({ event, fields })
    const allowed = [keys[1 - index]?.publicKey as Uint8Array, ...foreign]
    const served = await serve({
      ...options,
      key: keys[index],
      log: logged,
      federation: { realm: REALM, servers, allowed },
    })
    return new RealmServer(served, keys[index].publicKey, log)
  }
  const a = await start(0, [])
  const b = await start(1, [{ key: a.key, url: a.served.origin }])
  await eventually(async () => {
    const seen = await Promise.all([a.neighbour(b.key), b.neighbour(a.key)])
    return seen.every((neighbour) => neighbour?.directory && neighbour.messages)
  })
  return [a, b]
}

/** A peer of the foreign server. */
export class ForeignMember {
  readonly key = new Key()
  readonly session = randomBytes(16)
  readonly #home: Buffer
  #seq = 0n

  constructor(home: Buffer) {
    this.#home = home
  }

  /** Its membership in a topic, signed; what is given differs from what is usual. */
  row(topic: Buffer, overrides: Record<string, unknown> = {}): Row {
    const fields = {
      version: 1,
      kind: 'MEMBERSHIP_KIND_JOIN',
      topic,
      peerKey: this.key.publicKey,
      sessionId: this.session,
      seq: String(++this.#seq),
      issuedAtMs: String(Date.now()),
      ttlMs: 900_000,
      sessionKey: Buffer.from(Array.from({ length: 32 }, (_, i) => i + 1)),
      homeKey: this.#home,
      sessionOrder: '1',
      ...overrides,
    }
    const record = encode('mesh.signal.v1.MembershipRecord', fields)
    const signature = this.key.sign('membership', record)
    return { topic, peerKey: this.key.publicKey, sessionOrder: '1', record: { record, signature } }
  }

  /** A LEAVE of that peer, signed by this one, as a row. */
  leaveOf(peerKey: Buffer, topic: Buffer): Row {
    const seq = String(Date.now() * 1_024)
    const { record = null } = this.row(topic, { kind: 'MEMBERSHIP_KIND_LEAVE', peerKey, seq })
    return { topic, peerKey, sessionOrder: '1', gone: true, reason: 'DEPARTURE_REASON_LEFT', record }
  }

  /** The row that takes the membership away. */
  gone(topic: Buffer): Row {
    return { topic, peerKey: this.key.publicKey, sessionOrder: '1', gone: true, reason: 'DEPARTURE_REASON_LEFT' }
  }
}
