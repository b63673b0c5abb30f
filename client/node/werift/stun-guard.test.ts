import { describe, expect, test } from 'vitest'
import { hasIntegrity, isConnectivityCheck, readStun } from './stun-guard.ts'

/** RFC 5769 section 2.1: a connectivity check with password VOkJxbRl1RmTxUk/WvJxBt. */
const SAMPLE = Buffer.from(
  '000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1' +
    '51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf',
  'hex',
)
const KEY = Buffer.from('VOkJxbRl1RmTxUk/WvJxBt')

describe('readStun', () => {
  test('reads the sample request of RFC 5769 and proves it', () => {
    const header = readStun(SAMPLE)!
    expect(header).toMatchObject({ kind: 'request', method: 1, username: 'evtj:h6vY' })
    expect(isConnectivityCheck(header)).toBe(true)
    expect(hasIntegrity(SAMPLE, header, KEY)).toBe(true)
    expect(hasIntegrity(SAMPLE, header, Buffer.from('another'))).toBe(false)
  })

  test('proves no message of which any byte before the fingerprint was changed', () => {
    for (let at = 0; at < SAMPLE.length - 8; at += 1) {
      const changed = Buffer.from(SAMPLE)
      changed[at]! ^= 1
      const header = readStun(changed)
      expect(header !== undefined && hasIntegrity(changed, header, KEY)).toBe(false)
    }
  })

  test('refuses every truncation and every wrong length', () => {
    for (let length = 0; length < SAMPLE.length; length += 1)
      expect(readStun(SAMPLE.subarray(0, length))).toBeUndefined()
    for (let at = 22; at < 24; at += 1) {
      const changed = Buffer.from(SAMPLE)
      changed[at] = 255
      expect(readStun(changed)).toBeUndefined()
    }
  })

  test('tells requests, indications, responses and errors apart', () => {
    const kinds = [0x0001, 0x0011, 0x0101, 0x0111].map((type) => {
      const message = Buffer.alloc(20)
      message.writeUInt16BE(type, 0)
      message.writeUInt32BE(0x2112_a442, 4)
      return readStun(message)?.kind
    })
    expect(kinds).toEqual(['request', 'indication', 'response', 'error'])
  })
})
