import type { MeshError } from '@mesh/core'
import { type ByteKey, byteKey } from '../../../../byte-key.ts'
import type { ReplicationOptions } from '../replication-options.ts'
import { RowStore } from '../table/row-store.ts'
import { SlotLists } from '../table/slot-lists.ts'
import { Candidates } from './candidates.ts'
import { Departures } from './departures.ts'
import { Members } from './members.ts'
import { VisibleSet } from './visible-set.ts'

/** Departures that are remembered, of about 300 bytes each when they are signed. */
const MAX_DEPARTURES = 65_536

/** The rows of all origins, and what is seen of them: the parts that change it, and the one that reads it. */
export interface Assembled {
  readonly store: RowStore
  readonly departures: Departures
  readonly visible: VisibleSet
  readonly members: Members
}

/** Puts the visible set of a server together. `onForged`: a home passed a record on that its peer did not sign. */
export function assembleVisibleSet(
  options: ReplicationOptions,
  onForged: (home: ByteKey, error: MeshError) => void,
): Assembled {
  const { limits, random, verify, startWallMs, now, watched, effects } = options
  const self = byteKey(options.self)
  const store = new RowStore(random)
  const shown = new SlotLists()
  const departures = new Departures({ maxDepartures: MAX_DEPARTURES, keepMs: limits.maxRecordTtlMs })
  const candidates = new Candidates({ store, departures, verify, clockSkewMs: limits.clockSkewMs, onForged })
  const shared = { self, store, candidates, departures, shown }
  const { changed, outranked } = effects
  return {
    store,
    departures,
    visible: new VisibleSet({ ...shared, startWallMs, now, watched, changed, outranked }),
    members: new Members({ ...shared, random }),
  }
}
