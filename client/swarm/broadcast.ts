import { MeshError } from '@mesh/core'
import type { Peer, SendOptions } from './peer.ts'

/** How a broadcast went. */
export interface SendReport {
  readonly delivered: readonly Peer[]
  readonly failed: readonly { readonly peer: Peer; readonly error: MeshError }[]
}

/** Sends the same bytes to every peer. Never rejects: the report names those that could not be reached. */
export async function broadcast(peers: Iterable<Peer>, bytes: Uint8Array, options: SendOptions): Promise<SendReport> {
  const delivered: Peer[] = []
  const failed: { peer: Peer; error: MeshError }[] = []
  const sends = [...peers].map((peer) =>
    peer.send(bytes, options).then(
      () => delivered.push(peer),
      (error: unknown) => failed.push({ peer, error: MeshError.from(error) }),
    ),
  )
  await Promise.all(sends)
  return { delivered, failed }
}
