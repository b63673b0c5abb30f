import { randomBytes } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ExchangeRequestSchema, ExchangeResponseSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { percentile } from '../../harness/stats.ts'
import { serveWorker } from '../../harness/worker.ts'
import { frame } from '../../systems/mesh/frames.ts'
import { GrpcWire } from '../../systems/mesh/grpc-wire.ts'
import { openPeer, prepareJoin } from '../../systems/mesh/open-peer.ts'

const TOPIC_BYTES = 32
/** A join that is not seen by then is lost. */
const LOST_MS = 10_000

/** Peers that join at one server, watched by one that is at another: both ends in this process, on one clock. */
serveWorker({
  async joins({ watchPort, joinPort, count }: { watchPort: number; joinPort: number; count: number }) {
    const topic = randomBytes(TOPIC_BYTES)
    const seen = await watch(watchPort, topic)
    const latencies: number[] = []
    for (let index = 0; index < count; index++) {
      const wire = await GrpcWire.open(originOf(joinPort))
      const { key, join } = await prepareJoin(wire, originOf(joinPort), topic)
      const startedMs = performance.now()
      const arrived = seen(key.publicKey)
      await join()
      latencies.push((await arrived) - startedMs)
      wire.close()
    }
    const sorted = Float64Array.from(latencies).sort()
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) }
  },
})

/** Joins `topic` and listens; the returned function resolves with the time at which a peer was seen to join. */
async function watch(port: number, topic: Uint8Array): Promise<(peer: Uint8Array) => Promise<number>> {
  const waiting = new Map<string, (atMs: number) => void>()
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
    ended: (reason) => process.stderr.write(`the watcher's stream ended: ${reason}\n`),
  })
  stream.write(frame(toBinary(ExchangeRequestSchema, create(ExchangeRequestSchema))))
  return (peer) => {
    const name = Buffer.from(peer).toString('latin1')
    return new Promise((resolve, reject) => {
      const lost = setTimeout(() => reject(new Error('a join was not seen')), LOST_MS)
      waiting.set(name, (atMs) => {
        clearTimeout(lost)
        waiting.delete(name)
        resolve(atMs)
      })
    })
  }
}

function originOf(port: number): string {
  return `http://127.0.0.1:${port}`
}
