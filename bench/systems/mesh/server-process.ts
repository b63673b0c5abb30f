import { createServer } from '@mesh/server'
import { serveWorker } from '../../harness/worker.ts'

/** The rates that keep a peer polite are far below what a bench sends; every other limit keeps its default. */
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
}

serveWorker({
  /** Starts the server under test; pages of `allowedOrigins` may call it. */
  async listen(options?: { allowedOrigins?: string[] }): Promise<number> {
    return (await createServer({ port: 0, limits: LIMITS, ...options }).listen()).port
  },
})
