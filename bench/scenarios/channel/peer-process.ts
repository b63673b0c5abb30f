import { serveWorker } from '../../harness/worker.ts'
import { type NodeRtcName, nodeRtc } from '../../systems/rtc/node-rtc.ts'
import type { RawSignal } from '../../systems/rtc/raw-rtc.ts'
import { BulkMeter } from './bulk-meter.ts'
import { MeshBulk, type MeshBulkOptions } from './mesh-bulk.ts'
import { RawBulk } from './raw-bulk.ts'

/** One side of a bulk transfer, over a raw pair or over MESH. Signals of a raw pair go through the parent. */
const meter = new BulkMeter()
const raw = new RawBulk(meter)
const mesh = new MeshBulk(meter)

serveWorker({
  rawOpen: ({ stack, side }: { stack: NodeRtcName; side: 'offer' | 'answer' }) => raw.open(nodeRtc(stack), side),
  rawSignals: () => raw.outgoingSignals(),
  rawSignal: (signals: readonly RawSignal[]) => raw.incomingSignals(signals),
  rawSend: ({ totalBytes }: { totalBytes: number }) => raw.send(totalBytes),
  meshReceive: (options: MeshBulkOptions) => mesh.receive(options),
  meshConnect: (options: MeshBulkOptions) => mesh.connect(options),
  meshSend: ({ totalBytes }: { totalBytes: number }) => mesh.send(totalBytes),
  expect: ({ totalBytes }: { totalBytes: number }) => meter.expect(totalBytes),
  received: () => meter.finished(),
})
