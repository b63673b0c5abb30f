import type { Peer } from '@mesh/client'
import { formatAgo, formatRtt } from '../peer/format.ts'

/** How a connection stands, in the words of the page. */
export interface ConnectionWords {
  readonly words: string
  /** For the colours: the path, or 'away'. */
  readonly tone: 'direct' | 'relay' | 'none' | 'away'
  /** Round trip, or when the peer was seen last. */
  readonly aside: string
}

const PATH_WORDS = { direct: 'direct', relay: 'through the server', none: 'reconnecting' } as const

export function describeConnection(
  { path, presence, rttMs, lastSeenMs }: Pick<Peer, 'path' | 'presence' | 'rttMs' | 'lastSeenMs'>,
  nowMs: number,
): ConnectionWords {
  if (presence === 'away') return { words: 'away', tone: 'away', aside: `seen ${formatAgo(nowMs - lastSeenMs)}` }
  return { words: PATH_WORDS[path], tone: path, aside: path === 'none' ? '' : formatRtt(rttMs) }
}

/** What the button for the direct path says: pressed, it forbids one. */
export function directButtonWords(allowed: boolean): string {
  return allowed ? 'Cut the direct path' : 'Allow the direct path again'
}
