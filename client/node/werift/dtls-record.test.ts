import { describe, expect, test } from 'vitest'
import { type DtlsRecord, parseRecords, RecordOpener, RecordSealer, ReplayWindow } from './dtls-record.ts'

const KEY = Buffer.alloc(16, 1)
const SALT = Buffer.alloc(12, 2)

const first = (datagram: Buffer): DtlsRecord => parseRecords(datagram)[0]!

describe('A record sealer', () => {
  test('makes records that only an opener with the same key opens', () => {
    const sealed = new RecordSealer(KEY, SALT).seal(23, Buffer.from('hello'))
    expect(new RecordOpener(KEY, SALT).open(first(sealed))?.toString()).toBe('hello')
    expect(new RecordOpener(Buffer.alloc(16, 9), SALT).open(first(sealed))).toBeUndefined()
  })

  test('never uses a nonce twice, whatever the record holds', () => {
    const sealer = new RecordSealer(KEY, SALT)
    const nonces = Array.from({ length: 300 }, (_, index) =>
      first(sealer.seal(index % 2 === 0 ? 22 : 23, Buffer.from('x'))).fragment.toString('hex', 0, 8),
    )
    expect(new Set(nonces).size).toBe(300)
  })

  test('protects every byte of the record', () => {
    const sealed = new RecordSealer(KEY, SALT).seal(23, Buffer.from('hello'))
    const opener = new RecordOpener(KEY, SALT)
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed)
      changed[at]! ^= 1
      const record = parseRecords(changed)[0]
      if (record !== undefined) expect(opener.open(record)).toBeUndefined()
    }
    expect(opener.open(first(sealed))?.toString()).toBe('hello')
  })
})

describe('parseRecords', () => {
  test('stops at the first record that is malformed', () => {
    const record = new RecordSealer(KEY, SALT).seal(23, Buffer.from('x'))
    const wrongVersion = Buffer.from(record)
    wrongVersion[1] = 3
    expect(parseRecords(Buffer.concat([record, record]))).toHaveLength(2)
    expect(parseRecords(Buffer.concat([record, wrongVersion, record]))).toHaveLength(1)
    expect(parseRecords(Buffer.concat([record, record.subarray(0, 20)]))).toHaveLength(1)
    expect(parseRecords(Buffer.alloc(0))).toHaveLength(0)
  })

  test('reads no more than 16 records of one datagram', () => {
    const empty = Buffer.from([20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    expect(parseRecords(Buffer.concat(Array(100).fill(empty)))).toHaveLength(16)
  })
})

describe('A replay window', () => {
  test('takes each number once, in any order', () => {
    const window = new ReplayWindow()
    for (const number of [5, 3, 4, 0, 1000, 6]) {
      expect(window.isNew(number)).toBe(true)
      window.accept(number)
      expect(window.isNew(number)).toBe(false)
    }
  })

  test('refuses what is too old to know', () => {
    const window = new ReplayWindow()
    window.accept(5000)
    expect(window.isNew(5000 - 1023)).toBe(true)
    expect(window.isNew(5000 - 1024)).toBe(false)
  })

  test('forgets exactly what leaves it', () => {
    const window = new ReplayWindow()
    for (let number = 0; number < 3000; number += 2) window.accept(number)
    window.accept(1_000_000)
    expect(window.isNew(999_999)).toBe(true)
    expect(window.isNew(1_000_000)).toBe(false)
    expect(window.isNew(2998)).toBe(false)
  })

  test('decides on the number alone, not on having asked', () => {
    const window = new ReplayWindow()
    expect(window.isNew(7)).toBe(true)
    expect(window.isNew(7)).toBe(true)
  })
})
