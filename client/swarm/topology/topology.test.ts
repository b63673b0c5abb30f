import { ErrorReason, formatPeerId, generateSigningKey, seededRandom, toHex } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { automatic, boundedMesh, fullMesh, star, type Topology } from './topology.ts'

function keys(count: number, seed = 1): Uint8Array[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => random.bytes(32))
}

/** Whom each member selects, by hex key. */
function graph(topology: Topology, members: readonly Uint8Array[]): Map<string, Set<string>> {
  return new Map(
    members.map((own) => {
      const others = members.filter((key) => key !== own)
      return [toHex(own), new Set(topology.select(own, others).map(toHex))]
    }),
  )
}

function isSymmetric(links: Map<string, Set<string>>): boolean {
  return [...links].every(([from, to]) => [...to].every((other) => links.get(other)?.has(from)))
}

/** Most hops between any two; Infinity when some are not connected. */
function diameter(links: Map<string, Set<string>>): number {
  let longest = 0
  for (const start of links.keys()) {
    const hops = new Map([[start, 0]])
    const queue = [start]
    for (let from = queue.shift(); from !== undefined; from = queue.shift()) {
      for (const to of links.get(from) ?? []) {
        if (hops.has(to)) continue
        hops.set(to, (hops.get(from) as number) + 1)
        queue.push(to)
      }
    }
    if (hops.size < links.size) return Number.POSITIVE_INFINITY
    longest = Math.max(longest, ...hops.values())
  }
  return longest
}

describe('bounded mesh', () => {
  it.each([2, 3, 4, 5, 8, 9, 13, 16, 17, 33, 64, 100, 257])('of %i is symmetric, bounded and connected', (count) => {
    const links = graph(boundedMesh(), keys(count))
    expect(isSymmetric(links)).toBe(true)
    const degrees = [...links.values()].map((to) => to.size)
    expect(Math.max(...degrees)).toBeLessThanOrEqual(8)
    expect(Math.min(...degrees)).toBeGreaterThanOrEqual(Math.min(5, count - 1))
    expect(diameter(links)).toBeLessThanOrEqual(count / 16 + 3)
  })

  it('stays connected when any three of 30 are lost', () => {
    const members = keys(30)
    const links = graph(boundedMesh(), members)
    const random = seededRandom(7)
    for (let round = 0; round < 100; round++) {
      const lost = new Set([1, 2, 3].map(() => toHex(members[Math.floor(random.uniform() * 30)] as Uint8Array)))
      const left = [...links].filter(([key]) => !lost.has(key))
      const survivors = new Map(left.map(([key, to]) => [key, new Set([...to].filter((other) => !lost.has(other)))]))
      expect(diameter(survivors)).toBeLessThan(10)
    }
  })

  it('keeps to the degree it is given, and takes twice as many', () => {
    const topology = boundedMesh({ degree: 4 })
    const links = graph(topology, keys(50))
    expect(new Set([...links.values()].map((to) => to.size))).toEqual(new Set([4]))
    expect(topology.maxLinks).toBe(8)
  })

  it('does not depend on the order in which members became known', () => {
    const members = keys(30)
    const [own, ...others] = members as [Uint8Array, ...Uint8Array[]]
    const there = boundedMesh().select(own, others).map(toHex)
    expect(boundedMesh().select(own, others.reverse()).map(toHex)).toEqual(there)
  })

  it('never selects this peer itself, and nobody in an empty swarm', () => {
    const [own] = keys(1) as [Uint8Array]
    expect(boundedMesh().select(own, [])).toEqual([])
    const links = graph(boundedMesh(), keys(20))
    expect([...links].some(([from, to]) => to.has(from))).toBe(false)
  })
})

describe('full mesh', () => {
  it('selects everybody up to its bound', () => {
    const [own, ...others] = keys(101) as [Uint8Array, ...Uint8Array[]]
    expect(fullMesh().select(own, others)).toHaveLength(64)
    expect(fullMesh({ maxLinks: 100 }).select(own, others)).toEqual(others)
  })
})

describe('star', () => {
  it('links everybody with the hub and nobody else', async () => {
    const { publicKey: hub } = await generateSigningKey()
    const links = graph(star({ hub: formatPeerId(hub) }), [hub, ...keys(10)])
    expect(isSymmetric(links)).toBe(true)
    expect(links.get(toHex(hub))?.size).toBe(10)
    expect([...links.values()].map((to) => to.size).sort()).toEqual([...Array(10).fill(1), 10].sort())
  })

  it('selects nobody while the hub is not there', async () => {
    const { publicKey: hub } = await generateSigningKey()
    const [own, ...others] = keys(5) as [Uint8Array, ...Uint8Array[]]
    expect(star({ hub: formatPeerId(hub) }).select(own, others)).toEqual([])
  })

  it('refuses a hub that is no peer id', () => {
    expect(() => star({ hub: 'nobody' })).toThrow(expect.objectContaining({ reason: ErrorReason.PEER_ID_INVALID }))
  })
})

describe('automatic topology', () => {
  it('is a full mesh up to 12 members, this peer included, and bounded from 13 on', () => {
    const twelve = graph(automatic(), keys(12))
    expect([...twelve.values()].every((to) => to.size === 11)).toBe(true)
    const thirteen = graph(automatic(), keys(13))
    expect([...thirteen.values()].every((to) => to.size === 8)).toBe(true)
    expect(isSymmetric(thirteen)).toBe(true)
  })
})
