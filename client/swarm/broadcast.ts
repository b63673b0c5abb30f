import { MeshError } from '@mesh/core'
import { asleep, type Peer, type SendOptions } from './peer.ts'

/** How a broadcast went. */
export interface SendReport {
  readonly delivered: readonly Peer[]
  readonly failed: readonly { readonly peer: Peer; readonly error: MeshError }[]
}

/**
 * Sends the same bytes to every peer. Never rejects: the report names those that could not be reached. It does not wait for peers
 * that are away, or go away meanwhile (PEER_ASLEEP): what has left may still arrive there.
 */
export async function broadcast(peers: Iterable<Peer>, bytes: Uint8Array, options: SendOptions): Promise<SendReport> {
  const delivered: Peer[] = []
  const failed: { peer: Peer; error: MeshError }[] = []
  const sends = [...peers].map((peer) =>
    unlessAway(peer, () => peer.send(bytes, options)).then(
      () => delivered.push(peer),
      (error: unknown) => failed.push({ peer, error: MeshError.from(error) }),
    ),
  )
  await Promise.all(sends)
  return { delivered, failed }
}

async function unlessAway(peer: Peer, send: () => Promise<void>): Promise<void> {
  if (peer.presence === 'away') throw asleep(peer.id)
  const away = Promise.withResolvers<never>()
  const off = peer.on('presence', (presence) => {
    if (presence === 'away') away.reject(asleep(peer.id))
  })
  try {
    await Promise.race([send(), away.promise])
  } finally {
    off()
  }
}
