import { weriftFactory } from '@mesh/client/werift'
import type { RawConnection, RawRtc } from './raw-rtc.ts'
import { createStockWerift } from './stock-werift.ts'

/** WebRTC in Node: werift as it comes, or through the adapter that MESH uses. */
export type NodeRtcName = 'stock' | 'hardened'

const hardened = weriftFactory()

const createHardened: RawRtc = async () => {
  const connection = await hardened.create({ iceServers: [] })
  return connection as unknown as RawConnection
}

export function nodeRtc(name: NodeRtcName): RawRtc {
  return name === 'stock' ? createStockWerift : createHardened
}
