import { ErrorReason, MeshError } from '@mesh/core'
import type { MessageData } from './message.ts'
import type { Peer } from './peer.ts'
import type { SendOptions } from './peer-calls.ts'
import { asleep } from './presence.ts'

/** How a broadcast went. */
export interface SendReport {
  readonly delivered: readonly Peer[]
  readonly failed: readonly { readonly peer: Peer; readonly error: MeshError }[]
}

/** Sends to one peer, given as itself or by its id. Rejects as `peer.send` does. */
export async function sendTo(
  known: ReadonlyMap<string, Peer>,
  to: Peer | string,
  data: MessageData,
  options: SendOptions,
): Promise<SendReport> {
  const peer = typeof to === 'string' ? known.get(to) : to
  if (!peer) throw new MeshError(ErrorReason.PEER_LEFT, `no peer ${to} in this swarm`)
  await peer.send(data, options)
  return { delivered: [peer], failed: [] }
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
