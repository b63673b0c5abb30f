import { toHex } from '@mesh/core'
import { shortEpoch, shortKey } from './trace.ts'
import type { World } from './world.ts'

/** Where every server and every client stands, for a person who looks for a mistake. */
export function summaryOf(world: World): string[] {
  const lines: string[] = ['']
  for (const { index, process } of world.servers) {
    lines.push(`server ${index}: ${process === undefined ? 'never started' : `boot ${process.boot}, ${process.state}`}`)
    if (process === undefined || process.state === 'dead') continue
    const { origins, neighbours } = process.backplane.status()
    for (const { key, epoch, seq, head, rows, digest, state, msSinceState } of origins) {
      const heard = state === 'live' ? '' : `, hidden`
      lines.push(
        `  of ${shortKey(key)}: ${shortEpoch(epoch)}/${seq} (head ${head}), ${rows} rows, digest ${toHex(digest.subarray(0, 4))}, state ${Math.round(msSinceState)} ms ago${heard}`,
      )
    }
    for (const { key, directory, messages } of neighbours) {
      const up = [directory ? 'directory' : '', messages ? 'messages' : ''].filter((name) => name !== '')
      lines.push(`  to ${shortKey(key)}: ${up.length === 0 ? 'nothing' : up.join(' and ')}`)
    }
  }
  for (const client of world.clients) {
    const sessions = client.sessions.map(
      ({ process, session, streaming }) =>
        `order ${session.order & 0xfffffn} at server ${process.index}${streaming ? '' : ', no stream'}${session.end === undefined ? '' : ', ended'}`,
    )
    const life = client.alive ? '' : ' is away'
    lines.push(
      `client ${client.index}${life} wants topics ${[...client.wanted].join(' ')}: ${sessions.join('; ') || 'no session'}`,
    )
  }
  return lines
}
