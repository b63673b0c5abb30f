import { networkInterfaces } from 'node:os'
import { createClient, ErrorReason, type MeshClient, MeshError } from '@mesh/client'
import { createServer, jsonLogger, type MeshServer } from '@mesh/server'
import { encodeProfile } from '../peer/profile.ts'
import { Resident } from '../resident/resident.ts'
import type { ResidentEvent } from '../resident/resident-event.ts'
import type { StartOptions } from './options.ts'
import { buildPage } from './page-build.ts'
import { type PageHandler, pageFiles } from './page-files.ts'
import { reachOf } from './reach.ts'

export interface PlaygroundEvents {
  /** What the resident sees. */
  resident(event: ResidentEvent): void
  /** Something that whoever started the playground should know. */
  note(text: string): void
  /** Takes the lines of the server's log; without it there is none. */
  log?(line: string): void
}

export interface Playground {
  /** Address of the page. */
  readonly url: string
  /** Peer id of the resident. */
  readonly residentId: string
  /** The resident leaves, then the server stops. Idempotent. */
  close(): Promise<void>
}

export type PlaygroundOptions = Pick<StartOptions, 'host' | 'port' | 'party'>

/** Streams of open pages get this long to end by themselves. */
const DRAIN_MS = 300
const RESIDENT_NAME = 'Resident'
/** Name of its identity; kept between runs, so that people meet the same resident again. */
const RESIDENT_IDENTITY = 'playground-resident'

/**
 * Builds the page, starts the server that serves it, and lets the resident join. Rejects with what failed, after stopping the
 * rest: Vite's error, the system's (EADDRINUSE, EACCES), or a MeshError.
 */
export async function startPlayground(options: PlaygroundOptions, events: PlaygroundEvents): Promise<Playground> {
  const { host, port, party } = options
  const log = events.log?.bind(events)
  const reach = reachOf(host, networkInterfaces())
  const server = createServer({
    host,
    port,
    drainMs: DRAIN_MS,
    ...(reach.allowedHosts && { allowedHosts: reach.allowedHosts }),
    ...(log && { log: jsonLogger(log) }),
    fallback: await preparePage(party),
  })
  try {
    const address = await server.listen()
    const origin = `http://${reach.host}:${address.port}`
    const client = await residentClient(origin, events)
    await settle(client, party, events)
    return { url: `${origin}/`, residentId: client.id, close: closer(client, server) }
  } catch (error) {
    await server.close({ drainMs: 0 })
    throw error
  }
}

async function preparePage(party: string): Promise<PageHandler> {
  const { folder } = await buildPage()
  return pageFiles(folder, (html) => html.replace('{{party}}', escapeAttribute(party)))
}

/** With the kept identity, or a fresh one where nothing can be kept. */
async function residentClient(origin: string, events: PlaygroundEvents): Promise<MeshClient> {
  try {
    return await createClient({ servers: origin, identity: RESIDENT_IDENTITY })
  } catch (error) {
    if (!(error instanceof MeshError) || error.reason !== ErrorReason.IDENTITY_UNAVAILABLE) throw error
    events.note(`${error.message}; the resident has a new key this time`)
    return createClient({ servers: origin, identity: 'ephemeral' })
  }
}

async function settle(client: MeshClient, party: string, events: PlaygroundEvents): Promise<void> {
  try {
    const swarm = await client.join(party, { state: encodeProfile({ name: RESIDENT_NAME, bot: true }) })
    swarm.on('error', (error) => events.note(error.message))
    new Resident(swarm, (event) => events.resident(event)).start()
  } catch (error) {
    await client.close()
    throw error
  }
}

function closer(client: MeshClient, server: MeshServer): () => Promise<void> {
  let closing: Promise<void> | undefined
  const close = async () => {
    await client.close()
    await server.close()
  }
  return () => {
    closing ??= close()
    return closing
  }
}

function escapeAttribute(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
