import type { AddressInfo } from 'node:net'
import { PeerServer } from 'peer'
import { serveWorker } from '../../harness/worker.ts'

/** Above every population of the bench; the default of 5,000 would refuse the last peers. */
const MAX_CLIENTS = 100_000

function listen(): Promise<number> {
  return new Promise((resolve) => {
    PeerServer({ host: '127.0.0.1', port: 0, concurrent_limit: MAX_CLIENTS }, (server) =>
      resolve((server.address() as AddressInfo).port),
    )
  })
}

serveWorker({ listen })
