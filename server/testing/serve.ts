import { createServer, type MeshServer, type ServerOptions } from '@mesh/server'
import { afterEach } from 'vitest'

export interface Served {
  readonly server: MeshServer
  readonly origin: string
  readonly port: number
}

/** Starts servers on free ports for one test file and closes what is left after each test. */
export function useServers(): (options?: ServerOptions) => Promise<Served> {
  const started: MeshServer[] = []
  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.close({ signal: AbortSignal.abort() })))
  })
  return async (options = {}) => {
    const server = createServer({ port: 0, ...options })
    started.push(server)
    const { origin, port } = await server.listen()
    return { server, origin, port }
  }
}

/** Waits until `condition` holds; fails after ten seconds. For effects of real sockets that nothing announces. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 10_000
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`not within ten seconds: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
