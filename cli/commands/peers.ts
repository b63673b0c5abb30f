import { setTimeout as delay } from 'node:timers/promises'
import type { Peer, Swarm } from '@mesh/client'
import { systemClock } from '@mesh/core'
import type { Command, CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { joinParty, PARTY_ARGUMENT, PARTY_OPTIONS } from '../party-session.ts'
import { claimedName, describePath } from '../peer-name.ts'
import { printable, type Style } from '../terminal/style.ts'
import { reportPeers } from './peer-report.ts'

const DEFAULT_WAIT_MS = 3_000
const LOOK_MS = 50

export const peers: Command = {
  description:
    'Lists the peers of a party and how each can be reached from here. For that it joins for a moment, under a key that is never stored unless --identity names one. With --watch it stays and tells who comes and goes, until Ctrl+C.',
  arguments: [PARTY_ARGUMENT],
  options: {
    watch: { short: 'w', meaning: 'stay, and tell what changes' },
    wait: { value: 'time', meaning: 'list what is known after this long at the latest', fallback: '3s' },
    ...PARTY_OPTIONS,
    identity: { ...PARTY_OPTIONS.identity, meaning: 'the stored identity to use', fallback: 'ephemeral' },
  },
  examples: [
    { command: 'mesh peers our-party', meaning: 'who is there now' },
    { command: 'mesh peers our-party --watch --json', meaning: 'follow it from a program' },
  ],
  async run(context) {
    const waitMs = context.input.durationMs('wait') ?? DEFAULT_WAIT_MS
    const session = await joinParty(context, { identity: 'ephemeral' })
    try {
      if (context.input.flag('watch')) return await watch(context, session.swarm)
      await settled(session.swarm, waitMs, context.interrupts.signal)
      list(context, session.swarm)
      return ExitCode.ok
    } finally {
      await session.close()
    }
  },
}

/** One line about a peer: id, name, connection. */
export function peerRow(peer: Peer, style: Style): string {
  const name = claimedName(peer)
  return [style.peer(peer.id, peer.id), describePath(peer), ...(name === undefined ? [] : [name])].join('  ')
}

function list({ output }: CommandContext, swarm: Swarm): void {
  const linked = [...swarm.peers.values()]
  for (const peer of linked) {
    const { id, path, rttMs } = peer
    output.event('peer', { peer: id, path, rttMs, name: claimedName(peer) }, peerRow(peer, output.style))
  }
  const others = swarm.memberCount - linked.length
  const noun = (count: number): string => (count === 1 ? '1 peer' : `${count} peers`)
  const more = others > 0 ? `, and ${noun(others)} listed by the server but not connected to this one` : ''
  output.remark('end', { connected: linked.length, listed: swarm.memberCount }, `${noun(linked.length)}${more}`)
}

/** Resolves when every listed member is connected directly, or when time is up. Rejects with the signal's reason. */
async function settled(swarm: Swarm, waitMs: number, signal: AbortSignal): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + waitMs
  const done = (): boolean =>
    swarm.peers.size >= swarm.memberCount && [...swarm.peers.values()].every(({ path }) => path === 'direct')
  while (!done() && systemClock.monotonicMs() < deadlineMs) {
    await delay(LOOK_MS)
    signal.throwIfAborted()
  }
}

async function watch({ output, interrupts }: CommandContext, swarm: Swarm): Promise<ExitCode> {
  const ended = new AbortController()
  let failure: unknown
  swarm.on('error', (error) => {
    failure = error
    output.warning('problem', { reason: error.reasonName, message: error.message }, printable(error.message))
  })
  swarm.on('status', (status) => {
    if (status === 'closed') ended.abort()
  })
  output.remark('watching', { id: swarm.id }, 'Watching; Ctrl+C ends it.')
  reportPeers(swarm, output, systemClock)
  const signal = AbortSignal.any([interrupts.signal, ended.signal])
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
  if (ended.signal.aborted && !interrupts.signal.aborted) throw failure ?? new Error('the swarm was closed')
  return ExitCode.ok
}
