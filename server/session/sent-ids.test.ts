import { describe, expect, test } from 'vitest'
import { IdWindow } from './id-window.ts'
import { SentIds } from './sent-ids.ts'

describe('an id window', () => {
  test('knows the last ids, at least half of its size and never more than all of it', () => {
    const window = new IdWindow(8)
    for (let id = 0; id < 100; id++) {
      window.set(`${id}`, 'held')
      expect(window.size).toBeLessThanOrEqual(8)
      for (let known = Math.max(0, id - 3); known <= id; known++) expect(window.has(`${known}`)).toBe(true)
    }
    expect(window.has('80')).toBe(false)
  })

  test('gives a known id another fate without taking more room', () => {
    const window = new IdWindow(4)
    for (const id of ['a', 'b', 'c']) window.set(id, 'held')
    for (const id of ['a', 'c']) window.set(id, 'elsewhere')
    expect(window.size).toBe(3)
    expect(['a', 'b', 'c'].map((id) => window.fateOf(id))).toEqual(['elsewhere', 'held', 'elsewhere'])
  })
})

describe('the ids of peers without a session', () => {
  test('go to the session a peer opens, and come back from it', () => {
    const ids = new SentIds(8)
    ids.of('alice').set('1', 'delivered')
    const window = ids.take('alice')
    expect(window.fateOf('1')).toBe('delivered')
    expect(ids.of('alice').has('1')).toBe(false)
    ids.keep('alice', window)
    expect(ids.of('alice').has('1')).toBe(true)
  })

  test('are bounded in all, and the peer that was asked for longest ago is forgotten first', () => {
    const ids = new SentIds(8, 18)
    for (const peer of ['alice', 'bob']) for (let id = 0; id < 6; id++) ids.of(peer).set(`${id}`, 'held')
    ids.of('alice')
    for (let id = 0; id < 6; id++) ids.of('carol').set(`${id}`, 'held')
    ids.of('carol')
    expect(ids.count).toBeLessThanOrEqual(18)
    expect(ids.of('alice').has('5')).toBe(true)
    expect(ids.of('bob').has('5')).toBe(false)
  })

  test('are bounded although nobody sends anything', () => {
    const ids = new SentIds(8, 20)
    for (let peer = 0; peer < 100; peer++) ids.of(`${peer}`)
    expect(ids.count).toBeLessThanOrEqual(20)
  })
})
