import { seededRandom } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { peerBytes, serverKey, type TestRecord, testRecord, topicBytes } from '../replication.fixture.ts'
import { NONE } from './hash-index.ts'
import { readRecordFields } from './record-fields.ts'
import { RowStore } from './row-store.ts'
import type { RowTable } from './row-table.ts'

function row(fields: TestRecord) {
  const { record, signed } = testRecord(fields)
  return { topic: record.topic, peerKey: record.peerKey, signed, fields: readRecordFields(signed.record) }
}

function put(store: RowStore, table: RowTable, fields: TestRecord): number {
  const next = row(fields)
  const place = store.place(table, next.topic, next.peerKey)
  if (place.slot === NONE) return store.insert(table, next, place)
  store.rewrite(place.slot, next)
  return place.slot
}

const peersOf = (rows: readonly { peerKey: Uint8Array }[]): number[] =>
  rows.map(({ peerKey }) => new DataView(peerKey.buffer, peerKey.byteOffset).getUint32(0)).sort((a, b) => a - b)

describe('the row store', () => {
  test('holds rows of many tables as a map of maps would, through any changes', () => {
    const random = seededRandom(11)
    const store = new RowStore(random)
    const tables = [1, 2, 3].map((home) => store.createTable(serverKey(home)))
    const expected = new Map<string, number>()
    for (let step = 1; step < 20_000; step++) {
      const [at, topic, peer] = [3, 5, 40].map((count) => Math.floor(random.uniform() * count)) as [
        number,
        number,
        number,
      ]
      const table = tables[at] as RowTable
      const name = `${at} ${topic} ${peer}`
      if (random.uniform() < 0.6) {
        put(store, table, { topic, peer, home: at + 1, seq: step, state: step % 250 })
        expected.set(name, step)
      } else if (expected.delete(name)) {
        store.remove(store.find(table, topicBytes(topic), peerBytes(peer)))
      }
    }
    for (let at = 0; at < 3; at++) {
      for (let topic = 0; topic < 5; topic++) {
        for (let peer = 0; peer < 40; peer++) {
          const slot = store.find(tables[at] as RowTable, topicBytes(topic), peerBytes(peer))
          const seq = slot === NONE ? undefined : Number(store.fields(slot).seq)
          expect(seq).toBe(expected.get(`${at} ${topic} ${peer}`))
        }
      }
    }
    expect(tables.reduce((sum, { rows }) => sum + rows, 0)).toBe(expected.size)
  })

  test('digests a table the same whichever way it got there', () => {
    const store = new RowStore(seededRandom(1))
    const [one, other] = [store.createTable(serverKey(1)), store.createTable(serverKey(1))] as const
    for (let peer = 0; peer < 50; peer++) put(store, one, { peer })
    for (let peer = 60; peer >= 0; peer--) put(store, other, { peer, state: 5 })
    for (let peer = 0; peer < 50; peer++) put(store, other, { peer })
    for (let peer = 50; peer <= 60; peer++) store.remove(store.find(other, topicBytes(1), peerBytes(peer)))
    expect(other.digest.bytes()).toEqual(one.digest.bytes())
  })

  test('knows a topic no more when its last row went, though it was the one looked up last', () => {
    const store = new RowStore(seededRandom(1))
    const table = store.createTable(serverKey(1))
    const slot = put(store, table, { peer: 1 })
    expect(store.place(table, topicBytes(1), peerBytes(1))).toMatchObject({ first: slot, slot, topic: 0 })
    store.remove(slot)
    expect(store.place(table, topicBytes(1), peerBytes(1))).toMatchObject({ first: NONE, slot: NONE, topic: NONE })
    put(store, table, { peer: 1, topic: 2 })
    expect(store.find(table, topicBytes(1), peerBytes(1))).toBe(NONE)
  })

  test('lets go of everything with a table', () => {
    const store = new RowStore(seededRandom(1))
    const stays = store.createTable(serverKey(1))
    put(store, stays, { peer: 1 })
    const before = store.capacityBytes
    for (let round = 0; round < 20; round++) {
      const table = store.createTable(serverKey(2))
      for (let peer = 0; peer < 60; peer++) put(store, table, { peer, topic: 1 + (peer % 3), home: 2 })
      store.dropTable(table)
    }
    expect([store.topics.size, stays.rows]).toEqual([1, 1])
    expect(store.nextHome(store.firstHome(topicBytes(1), peerBytes(1)))).toBe(NONE)
    expect(store.capacityBytes).toBeLessThan(before + 16_384)
  })
})

describe('a view of a table', () => {
  test('is the table as it was, page by page, while rows change, go and come', () => {
    const store = new RowStore(seededRandom(1))
    const table = store.createTable(serverKey(1))
    for (let peer = 1; peer <= 10; peer++) put(store, table, { peer })
    const view = store.view(table)
    const first = view.page(0, 4)
    for (let peer = 1; peer <= 5; peer++) store.remove(store.find(table, topicBytes(1), peerBytes(peer)))
    for (let peer = 6; peer <= 8; peer++) put(store, table, { peer, seq: 2 })
    for (let peer = 20; peer <= 30; peer++) put(store, table, { peer })
    const rows = [...first, ...view.page(4, 10)]
    expect(peersOf(rows)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(rows.every(({ record }) => readRecordFields(record?.record as Uint8Array).seq === 1n)).toBe(true)
    view.close()
    expect(table.views.size).toBe(0)
  })

  test('ends when its table is dropped', () => {
    const store = new RowStore(seededRandom(1))
    const table = store.createTable(serverKey(1))
    const view = store.view(table)
    store.dropTable(table)
    expect(view.closed).toBe(true)
  })
})
