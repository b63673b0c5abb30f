import { monitorEventLoopDelay } from 'node:perf_hooks'
import { generateSigningKey, type SigningKey } from '@mesh/core'
import { createServer, type FederationOptions, type MeshServer } from '@mesh/server'
import { serveWorker } from '../../harness/worker.ts'

/** The rates that keep a peer polite, and the rows of a server, are below what a bench sends; every other limit keeps its default. */
const UNLIMITED = 1_000_000_000

const LIMITS = {
  joinsPerSecond: UNLIMITED,
  joinsBurst: UNLIMITED,
  messagesPerSecond: UNLIMITED,
  messagesBurst: UNLIMITED,
  pairMessagesPerSecond: UNLIMITED,
  pairMessagesBurst: UNLIMITED,
  openSessionsPerSecond: UNLIMITED,
  openSessionsBurst: UNLIMITED,
  federationRecordsPerSecond: UNLIMITED,
  federationRecordsBurst: UNLIMITED,
  federationMessagesPerSecond: UNLIMITED,
  federationMessagesBurst: UNLIMITED,
  // A million come as a snapshot, and more after it.
  federationMaxRows: UNLIMITED,
}

let key: SigningKey | undefined

let server: MeshServer | undefined

let pauses: ReturnType<typeof monitorEventLoopDelay> | undefined

serveWorker({
  /** The key of the server that `listen` will start. */
  async identify(): Promise<Uint8Array> {
    key = await generateSigningKey()
    return key.publicKey
  },
  /** Starts the server under test; pages of `allowedOrigins` may call it, and clients by the names in `allowedHosts`. */
  async listen(options?: {
    port?: number
    allowedOrigins?: string[]
    allowedHosts?: string[]
    federation?: FederationOptions
  }): Promise<number> {
    server = createServer({ port: 0, limits: LIMITS, ...(key && { key }), ...options })
    return (await server.listen()).port
  },
  watchPauses(): void {
    pauses = monitorEventLoopDelay({ resolution: 1 })
    pauses.enable()
  },
  /** The longest time that the event loop was busy with one thing since `watchPauses`. */
  longestPauseMs(): number {
    pauses?.disable()
    return (pauses?.max ?? 0) / 1e6
  },
  /** Rows of other servers that this one holds. */
  replicatedRows: (): number => server?.stats().replicatedRows ?? 0,
})
