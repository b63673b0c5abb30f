import { randomBytes } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ExchangeRequestSchema, ExchangeResponseSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { percentile } from '../../harness/stats.ts'
import { serveWorker } from '../../harness/worker.ts'
import { frame } from '../../systems/mesh/frames.ts'
import { GrpcWire } from '../../systems/mesh/grpc-wire.ts'
import { openPeer, prepareJoin } from '../../systems/mesh/open-peer.ts'

const TOPIC_BYTES = 32
/** Members of one topic: well below the 64 of whom a member is told. */
const PARTY_SIZE = 30
/** A join that is not seen by then is lost. */
const LOST_MS = 10_000

/** Peers that join at one server, watched by one that is at another: both ends in this process, on one clock. */
serveWorker({
  async joins({ watchPort, joinPort, count }: { watchPort: number; joinPort: number; count: number }) {
    const latencies: number[] = []
    for (let left = count; left > 0; left -= PARTY_SIZE) {
      latencies.push(...(await joinParty({ watchPort, joinPort, count: Math.min(left, PARTY_SIZE) })))
    }
    const sorted = Float64Array.from(latencies).sort()
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) }
  },
})

/** Milliseconds until each of `count` peers, one after the other, was seen in a topic of their own. */
async function joinParty(options: { watchPort: number; joinPort: number; count: number }): Promise<number[]> {
  const { watchPort, joinPort, count } = options
  const topic = randomBytes(TOPIC_BYTES)
  const watcher = await watch(watchPort, topic)
  const latencies: number[] = []
  for (let index = 0; index < count; index++) {
    const wire = await GrpcWire.open(originOf(joinPort))
    const { key, join } = await prepareJoin(wire, originOf(joinPort), topic)
    const startedMs = performance.now()
    const arrived = watcher.seen(key.publicKey)
    await join()
    latencies.push((await arrived) - startedMs)
    wire.close()
  }
  watcher.close()
  return latencies
}

interface Watcher {
  /** Resolves with the time at which a peer was seen to join. */
  seen(peer: Uint8Array): Promise<number>
  close(): void
}

/** Joins `topic` and listens. */
async function watch(port: number, topic: Uint8Array): Promise<Watcher> {
  const waiting = new Map<string, (atMs: number) => void>()
  let isClosed = false
  const wire = await GrpcWire.open(originOf(port))
  await openPeer(wire, originOf(port), topic)
  const stream = wire.stream('Exchange', {
    message: (message) => {
      const atMs = performance.now()
      for (const { event } of fromBinary(ExchangeResponseSchema, message).events) {
        if (event.case !== 'members') continue
        // A record starts with version and kind, then the topic and the peer's key; looking for the key is enough here.
        for (const { record } of event.value.joined) {
          for (const [peer, resolve] of waiting) if (Buffer.from(record).includes(peer, 0, 'latin1')) resolve(atMs)
        }
      }
    },
    ended: (reason) => {
      if (!isClosed) process.stderr.write(`the watcher's stream ended: ${reason}\n`)
    },
  })
  stream.write(frame(toBinary(ExchangeRequestSchema, create(ExchangeRequestSchema))))
  return {
    seen: (peer) => {
      const name = Buffer.from(peer).toString('latin1')
      return new Promise((resolve, reject) => {
        const lost = setTimeout(() => reject(new Error('a join was not seen')), LOST_MS)
        waiting.set(name, (atMs) => {
          clearTimeout(lost)
          waiting.delete(name)
          resolve(atMs)
        })
      })
    },
    close: () => {
      isClosed = true
      wire.close()
    },
  }
}

function originOf(port: number): string {
  return `http://127.0.0.1:${port}`
}
