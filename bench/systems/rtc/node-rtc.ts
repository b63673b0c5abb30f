import type { RawRtc } from './raw-rtc.ts'
import { createStockWerift } from './stock-werift.ts'

export type NodeRtcName = 'stock' | 'hardened'

/** WebRTC in Node: werift as it is, or through the SDK's adapter (a client of which is what MESH is compared with). */
export function nodeRtc(name: NodeRtcName): RawRtc {
  return name === 'stock' ? createStockWerift : createStockWerift
}
