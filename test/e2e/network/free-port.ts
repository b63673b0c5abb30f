import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below the range from which systems take ports for outgoing connections: one of those could hold a restarting server's. */
const LOWEST = 15_000
const HIGHEST = 30_000
const MAX_TRIES = 50

/** A port of this machine that nobody listens on, for a server that will listen on it again after each restart. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST))
    const probe = createServer()
    const listening = once(probe, 'listening').then(
      () => true,
      () => false,
    )
    probe.listen(port, host)
    if (!(await listening)) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
  throw new Error(`no free port in ${MAX_TRIES} attempts`)
}
