import { compareBytes, parsePeerId, toHex } from '@mesh/core'

/**
 * Whom to dial. A topology is a pure function of the members one peer knows; two peers with the same view choose links that
 * agree, and a peer accepts a link somebody else chose while it has room.
 */
export interface Topology {
  /** Public keys, out of `members` (own key not among them), this peer wants a link to. */
  select(own: Uint8Array, members: readonly Uint8Array[]): Uint8Array[]
  /** Links this peer holds at most, those asked for by others included. */
  readonly maxLinks: number
}

/** Up to this many members, everybody is linked to everybody. */
export const FULL_MESH_MEMBERS = 12
const MAX_LINKS = 64

/** A link to every member, up to `maxLinks` (default 64). */
export function fullMesh(options: { readonly maxLinks?: number } = {}): Topology {
  const maxLinks = options.maxLinks ?? MAX_LINKS
  return { maxLinks, select: (_own, members) => members.slice(0, maxLinks) }
}

/** Everybody is linked to the hub, given by its peer id, and to nobody else. */
export function star(options: { readonly hub: string; readonly maxLinks?: number }): Topology {
  const hub = parsePeerId(options.hub)
  const maxLinks = options.maxLinks ?? MAX_LINKS
  return {
    maxLinks,
    select: (own, members) =>
      compareBytes(own, hub) === 0 ? members.slice(0, maxLinks) : members.filter((key) => compareBytes(key, hub) === 0),
  }
}

/**
 * A bounded number of links per peer (default 8), for large swarms: members stand in a ring in the order of their keys, and
 * each is linked to those 1, 2, 4, 8 ... places away in both directions. With 8 links the longest step is 8 places, so two of
 * n members are at most about n/16 + 3 hops apart, and the loss of any few leaves the others connected.
 */
export function boundedMesh(options: { readonly degree?: number } = {}): Topology {
  const degree = options.degree ?? 8
  return { maxLinks: degree * 2, select: (own, members) => ringNeighbours(own, members, degree) }
}

/** Full mesh up to 12 members (this peer included), bounded mesh beyond. The default. */
export function automatic(): Topology {
  const bounded = boundedMesh()
  return {
    maxLinks: MAX_LINKS,
    select: (own, members) => (members.length < FULL_MESH_MEMBERS ? [...members] : bounded.select(own, members)),
  }
}

function ringNeighbours(own: Uint8Array, members: readonly Uint8Array[], degree: number): Uint8Array[] {
  const ring = [...members, own].sort(compareBytes)
  const position = ring.indexOf(own)
  const chosen = new Map<string, Uint8Array>()
  for (let step = 1; step < ring.length && chosen.size < degree; step *= 2) {
    for (const offset of [step, -step]) {
      const key = ring[(position + offset + ring.length) % ring.length] as Uint8Array
      if (key !== own && chosen.size < degree) chosen.set(toHex(key), key)
    }
  }
  return [...chosen.values()]
}
