import type { Peer } from '@mesh/client'
import { printable, type Style, shortPeerId } from './terminal/style.ts'

/**
 * Peers may say in their state how they want to be called: UTF-8 JSON such as {"name":"Ada"}. It is a claim, so it is always
 * shown together with the peer id, which nobody else can have.
 */

/** In UTF-16 units; with JSON around it far below the 1,024 bytes of a state. */
export const MAX_NAME_LENGTH = 40

/** State that says how this peer wants to be called. */
export function stateWithName(name: string): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ name }))
}

/** The name a peer claims, made printable; undefined when it claims none. */
export function claimedName({ state }: Pick<Peer, 'state'>): string | undefined {
  if (state.length === 0) return undefined
  try {
    const fields: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(state))
    const name = typeof fields === 'object' && fields !== null && 'name' in fields ? fields.name : undefined
    return (typeof name === 'string' && printable(name).trim().slice(0, MAX_NAME_LENGTH)) || undefined
  } catch {
    return undefined // other programs put other things into their state
  }
}

/** "Ada (mesh1qq7x…a4fj)", in the peer's colour. */
export function peerLabel(peer: Pick<Peer, 'id' | 'state'>, style: Style): string {
  const name = claimedName(peer)
  const id = shortPeerId(peer.id)
  return name === undefined ? style.peer(id, peer.id) : `${style.peer(name, peer.id)} ${style.dim(`(${id})`)}`
}

/** "direct, 2.0 ms", "through the server, 8 ms", "no connection". */
export function describePath({ path, rttMs }: Pick<Peer, 'path' | 'rttMs'>): string {
  if (path === 'none') return 'no connection'
  const way = path === 'direct' ? 'direct' : 'through the server'
  return rttMs === undefined ? way : `${way}, ${rttMs < 10 ? rttMs.toFixed(1) : Math.round(rttMs)} ms`
}
