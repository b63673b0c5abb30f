import type { Peer, PeerPath, Swarm } from '@mesh/client'
import { displayName } from '../peer/profile.ts'

/**
 * Tells in the conversation what becomes of connections: that messages to a peer go through the server because its direct path is
 * gone, that they travel directly again, that it went away, and that it is back. How a connection begins is not worth a line.
 */
export function tellPaths(swarm: Swarm, tell: (text: string) => void): void {
  const detours = new Set<string>()
  const before = new Map<string, PeerPath>()
  swarm.on('path', (peer) => {
    const words = detourWords(before.get(peer.id), peer, detours)
    before.set(peer.id, peer.path)
    if (words !== undefined) tell(words)
  })
  swarm.on('presence', (peer) => {
    tell(peer.presence === 'away' ? `${displayName(peer)} is away` : `${displayName(peer)} is back`)
  })
  swarm.on('leave', ({ id }) => {
    detours.delete(id)
    before.delete(id)
  })
}

function detourWords(before: PeerPath | undefined, peer: Peer, detours: Set<string>): string | undefined {
  const { id, path } = peer
  if (before === 'direct' && path === 'relay') {
    detours.add(id)
    return `Messages to ${displayName(peer)} go through the server now`
  }
  if (path === 'direct' && detours.delete(id)) return `Messages to ${displayName(peer)} travel directly again`
  return undefined
}
