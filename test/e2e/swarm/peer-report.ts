import type { Peer, Swarm } from '@mesh/client'

/** What a peer under test tells about itself; the same from a Node process and from a page. */
export interface PeerReport {
  readonly id: string
  readonly status: string
  readonly peers: readonly Pick<Peer, 'id' | 'path' | 'presence'>[]
  /** "sender text", in order of arrival. */
  readonly messages: readonly string[]
  /** "join id", "leave id", "restart id", "status x", "error REASON", in order. */
  readonly log: readonly string[]
}

/** Collects what happens in a swarm. */
export function reportOf(swarm: Swarm): () => PeerReport {
  const messages: string[] = []
  const log: string[] = []
  swarm.on('message', (message) => messages.push(`${message.from.id} ${message.text()}`))
  swarm.on('join', ({ id }) => log.push(`join ${id}`))
  swarm.on('leave', ({ id }) => log.push(`leave ${id}`))
  swarm.on('restart', ({ id }) => log.push(`restart ${id}`))
  swarm.on('status', (status) => log.push(`status ${status}`))
  swarm.on('error', (error) => log.push(`error ${error.reasonName}`))
  return () => ({
    id: swarm.id,
    status: swarm.status,
    peers: [...swarm.peers.values()].map(({ id, path, presence }) => ({ id, path, presence })),
    messages: [...messages],
    log: [...log],
  })
}
