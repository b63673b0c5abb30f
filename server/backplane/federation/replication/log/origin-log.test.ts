import { create } from '@bufbuild/protobuf'
import { RowSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { describe, expect, test } from 'vitest'
import { OriginLog } from './origin-log.ts'

const entry = (order: number) => create(RowSchema, { sessionOrder: BigInt(order), topic: new Uint8Array(32) })
const BOUNDS = { maxRows: 100, maxBytes: 1_000_000 }

describe('a log', () => {
  test('numbers its entries without gaps and keeps the newest', () => {
    const log = new OriginLog(10n)
    for (let order = 11; order <= 100; order++) log.append(entry(order), 5)
    expect([log.head, log.base, log.length]).toEqual([100n, 95n, 5])
    for (let seq = log.base; seq < log.head; seq++) {
      expect(log.after(seq, { ...BOUNDS, maxRows: 1 })[0]?.sessionOrder).toBe(seq + 1n)
    }
  })

  test('gives as much as fits, and at least one entry', () => {
    const log = new OriginLog(0n)
    for (let order = 1; order <= 10; order++) log.append(entry(order), 100)
    expect(log.after(4n, BOUNDS)).toHaveLength(6)
    expect(log.after(4n, { ...BOUNDS, maxRows: 2 })).toHaveLength(2)
    expect(log.after(4n, { ...BOUNDS, maxBytes: 1 })).toHaveLength(1)
    expect(log.after(10n, BOUNDS)).toEqual([])
  })

  test('gets shorter when it may keep less again', () => {
    const log = new OriginLog(0n)
    for (let order = 1; order <= 50; order++) log.append(entry(order), 50)
    log.append(entry(51), 3)
    expect([log.length, log.base]).toEqual([3, 48n])
  })
})
