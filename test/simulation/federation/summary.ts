import { toHex } from '@mesh/core'
import { shortEpoch, shortKey } from './trace.ts'
import type { World } from './world.ts'

/** What the seed drew before anything happened: without it, times in the trace say little. */
function settingsOf({ settings }: World): string[] {
  const { limits, network, faults, tamperRate, lostRowRate, holdsPerMinute, lie } = settings
  const perMinute = Object.entries(faults).filter(([, rate]) => rate > 0)
  return [
    `lease ${limits.federationLeaseMs} ms, state every ${limits.federationStateMs} ms, grace ${limits.federationPauseGraceMs} ms, rows kept hidden ${limits.federationHiddenMs} ms, receipt within ${limits.federationReceiptMs} ms`,
    `log of ${limits.federationLogRows} entries, pages of ${limits.federationPageRows} rows, credit of ${limits.federationCreditFrames} frames, sessions without stream ${limits.leaseMs} ms`,
    `line: ${network.delayMs} to ${network.delayMs + network.jitterMs} ms, ${network.frameMs} ms a frame, ${network.windowFrames} frames on their way, dead after ${network.deadAfterMs.join(' and ')} ms`,
    `faults a minute: ${perMinute.map(([name, rate]) => `${name} ${rate}`).join(', ') || 'none'}; frames moved ${tamperRate}, with a row lost ${lostRowRate}, rows held back ${holdsPerMinute} times a minute, lies about ${lie ?? 'nothing'}`,
  ]
}

/** Where every server and every client stands, for a person who looks for a mistake. */
export function summaryOf(world: World): string[] {
  const lines: string[] = ['', ...settingsOf(world), '']
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
