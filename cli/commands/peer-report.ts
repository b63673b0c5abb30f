import type { Peer, Swarm } from '@mesh/client'
import type { Clock, Timer } from '@mesh/core'
import { describePath, peerLabel } from '../peer-name.ts'
import type { Output } from '../terminal/output.ts'

/** A connection that is back within this time, or whose peer leaves within it, is not worth a line to people. */
const LOST_AFTER_MS = 2_000

/** Says who is there, joins and leaves, how connections change, and when the server is lost and found, while the swarm is open. */
export function reportPeers(swarm: Swarm, output: Output, clock: Clock): void {
  const report = new PeerReport(output, clock)
  for (const peer of swarm.peers.values()) report.join(peer)
  swarm.on('join', (peer) => report.join(peer))
  swarm.on('leave', (peer) => report.leave(peer))
  swarm.on('path', (peer) => report.path(peer))
  swarm.on('presence', (peer) => report.presence(peer))
  swarm.on('status', (status) => {
    if (status === 'closed') report.stop()
    if (status === 'reconnecting') {
      output.warning('server-lost', {}, 'The server is out of reach; direct connections go on.')
    }
    if (status === 'joined') output.remark('server-back', {}, 'The server is back.')
  })
}

class PeerReport {
  readonly #output: Output
  readonly #clock: Clock
  /** The path last told about each peer. */
  readonly #paths = new Map<string, Peer['path']>()
  /** Lost connections that people have not been told about yet. */
  readonly #losses = new Map<string, Timer>()

  constructor(output: Output, clock: Clock) {
    this.#output = output
    this.#clock = clock
  }

  join(peer: Peer): void {
    const { style } = this.#output
    this.#paths.set(peer.id, peer.path)
    const text = `${style.good('→')} ${peerLabel(peer, style)} joined ${style.dim(`(${describePath(peer)})`)}`
    this.#output.event('join', facts(peer), text)
  }

  leave(peer: Peer): void {
    const { style } = this.#output
    this.#forgetLoss(peer)
    this.#paths.delete(peer.id)
    this.#output.event('leave', { peer: peer.id }, `${style.bad('←')} ${peerLabel(peer, style)} left`)
  }

  path(peer: Peer): void {
    const before = this.#paths.get(peer.id)
    if (before === undefined || before === peer.path) return
    this.#paths.set(peer.id, peer.path)
    if (this.#output.json) return this.#output.event('path', facts(peer))
    const silent = this.#forgetLoss(peer)
    if (peer.path === 'none')
      this.#losses.set(
        peer.id,
        this.#clock.schedule(LOST_AFTER_MS, () => this.#tell(peer)),
      )
    else if (!silent || peer.path === 'direct') this.#tell(peer)
  }

  presence(peer: Peer): void {
    const { style } = this.#output
    const what = peer.presence === 'away' ? 'does not answer; it may be asleep' : 'is back'
    const text = `${style.dim('·')} ${peerLabel(peer, style)} ${style.dim(what)}`
    this.#output.event('presence', { peer: peer.id, presence: peer.presence }, text)
  }

  stop(): void {
    for (const timer of this.#losses.values()) timer.cancel()
    this.#losses.clear()
  }

  #tell(peer: Peer): void {
    this.#losses.delete(peer.id)
    const { style } = this.#output
    const what = peer.path === 'none' ? 'lost its connection; trying again' : `is now ${describePath(peer)}`
    this.#output.event('path', facts(peer), `${style.dim('·')} ${peerLabel(peer, style)} ${style.dim(what)}`)
  }

  /** Whether there was a loss that people do not know of. */
  #forgetLoss(peer: Peer): boolean {
    this.#losses.get(peer.id)?.cancel()
    return this.#losses.delete(peer.id)
  }
}

function facts({ id, path, rttMs }: Peer): { peer: string; path: string; rttMs: number | undefined } {
  return { peer: id, path, rttMs: rttMs === undefined ? undefined : Math.round(rttMs * 10) / 10 }
}
