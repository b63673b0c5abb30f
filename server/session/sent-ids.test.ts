import { type Random, seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../byte-key.ts'
import { type IdFate, IdWindow } from './id-window.ts'
import { SentIds } from './sent-ids.ts'

/** An id of 16 bytes. */
function idOf(number: number): Uint8Array {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(12, number)
  return id
}

describe('an id window', () => {
  test('knows the last ids, at least half of its size and never more than all of it', () => {
    const window = new IdWindow(8)
    for (let id = 0; id < 100; id++) {
      window.set(idOf(id), 'held')
      expect(window.size).toBeLessThanOrEqual(8)
      for (let known = Math.max(0, id - 3); known <= id; known++) expect(window.has(idOf(known))).toBe(true)
    }
    expect(window.has(idOf(80))).toBe(false)
  })

  test('gives a known id another fate without taking more room', () => {
    const window = new IdWindow(4)
    for (const id of [1, 2, 3]) window.set(idOf(id), 'held')
    for (const id of [1, 3]) window.set(idOf(id), 'elsewhere')
    expect(window.size).toBe(3)
    expect([1, 2, 3].map((id) => window.fateOf(idOf(id)))).toEqual(['elsewhere', 'held', 'elsewhere'])
  })
})

describe('an id window, whatever the ids', () => {
  const kinds: [string, (random: Random, number: number) => Uint8Array][] = [
    ['that are random', (random) => random.bytes(16)],
    ['that count', (_, number) => idOf(number)],
    ['that differ in the first bytes only', (_, number) => idOf(number).reverse()],
    ['that repeat their bytes', (_, number) => new Uint8Array(16).fill(number % 251).fill(number >> 8, 0, 2)],
    ['that are views of more', (random) => random.bytes(40).subarray(7, 23)],
  ]
  test.each(kinds)('knows those %s as two sets would', (_, make) => {
    const random = seededRandom(5)
    const window = new IdWindow(64)
    let [young, old] = [new Map<string, IdFate>(), new Map<string, IdFate>()]
    const sent: Uint8Array[] = []
    for (let number = 0; number < 2_000; number++) {
      const isRepeated = sent.length > 0 && random.uniform() < 0.3
      const id = isRepeated ? (sent.at(-1 - Math.floor(random.uniform() * 80)) ?? idOf(1)) : make(random, number)
      const key = byteKey(id)
      expect(window.fateOf(id)).toBe(young.get(key) ?? old.get(key))
      const fate = (['delivered', 'held', 'elsewhere'] as const)[number % 3] as IdFate
      window.set(id, fate)
      sent.push(id)
      if (old.has(key)) old.set(key, fate)
      else if (young.size >= 32 && !young.has(key)) [old, young] = [young, new Map([[key, fate]])]
      else young.set(key, fate)
      expect(window.size).toBe(young.size + old.size)
    }
  })
})

describe('the ids of peers without a session', () => {
  test('go to the session a peer opens, and come back from it', () => {
    const ids = new SentIds(8)
    ids.of('alice').set(idOf(1), 'delivered')
    const window = ids.take('alice')
    expect(window.fateOf(idOf(1))).toBe('delivered')
    expect(ids.of('alice').has(idOf(1))).toBe(false)
    ids.keep('alice', window)
    expect(ids.of('alice').has(idOf(1))).toBe(true)
  })

  test('are bounded in all, and the peer that was asked for longest ago is forgotten first', () => {
    const ids = new SentIds(8, 18)
    for (const peer of ['alice', 'bob']) for (let id = 0; id < 6; id++) ids.of(peer).set(idOf(id), 'held')
    ids.of('alice')
    for (let id = 0; id < 6; id++) ids.of('carol').set(idOf(id), 'held')
    ids.of('dave')
    expect(ids.count).toBeLessThanOrEqual(18)
    expect(ids.of('alice').has(idOf(5))).toBe(true)
    expect(ids.of('bob').has(idOf(5))).toBe(false)
  })

  test('are bounded although nobody sends anything', () => {
    const ids = new SentIds(8, 20)
    for (let peer = 0; peer < 100; peer++) ids.of(`${peer}`)
    expect(ids.count).toBeLessThanOrEqual(20)
  })
})
