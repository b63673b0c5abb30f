import { MeshError } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { pickIceServers } from './ice-options.ts'

const TURN = { username: 'user', credential: 'secret' }

function reasonOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof MeshError) return error.reasonName
    throw error
  }
  return 'none'
}

describe('pickIceServers', () => {
  test('contacts nobody when no server is named', () => {
    expect(pickIceServers({ iceServers: [] }, 0)).toEqual({ stun: undefined, turn: undefined, relayOnly: false })
  })

  test('takes another server of each kind for every connection', () => {
    const iceServers = [
      { urls: ['stun:a.test', 'stun:b.test:1000'] },
      { urls: ['turn:c.test', 'turns:d.test?transport=tcp', 'turn:e.test:99?transport=tcp'], ...TURN },
    ]
    const picked = [0, 1, 2, 3].map((turn) => pickIceServers({ iceServers }, turn))
    expect(picked.map(({ stun }) => stun)).toEqual([
      ['a.test', 3478],
      ['b.test', 1000],
      ['a.test', 3478],
      ['b.test', 1000],
    ])
    expect(picked.map(({ turn }) => [turn?.address, turn?.transport])).toEqual([
      [['c.test', 3478], 'udp'],
      [['d.test', 5349], 'tls'],
      [['e.test', 99], 'tcp'],
      [['c.test', 3478], 'udp'],
    ])
  })

  test('reads IPv6 hosts', () => {
    expect(pickIceServers({ iceServers: [{ urls: 'stun:[2001:db8::1]:3479' }] }, 0).stun).toEqual(['2001:db8::1', 3479])
  })

  test('asks no STUN server under the relay policy', () => {
    const iceServers = [{ urls: 'stun:a.test' }, { urls: 'turn:b.test', ...TURN }]
    const picked = pickIceServers({ iceServers, iceTransportPolicy: 'relay' }, 0)
    expect(picked.stun).toBeUndefined()
    expect(picked.relayOnly).toBe(true)
  })

  test.each([
    ['http://a.test', 'INVALID_ARGUMENT'],
    ['stun:', 'INVALID_ARGUMENT'],
    ['stun:a.test:0', 'INVALID_ARGUMENT'],
    ['stun:a.test:70000', 'INVALID_ARGUMENT'],
    ['stun:a b', 'INVALID_ARGUMENT'],
    ['turn:a.test?transport=sctp', 'INVALID_ARGUMENT'],
    ['stuns:a.test', 'NOT_SUPPORTED'],
    ['turn:a.test', 'RELAY_CREDENTIALS'],
  ])('refuses %s with %s', (urls, reason) => {
    expect(reasonOf(() => pickIceServers({ iceServers: [{ urls }] }, 0))).toBe(reason)
  })

  test('refuses more than 32 URLs', () => {
    const urls = Array.from({ length: 33 }, (_, index) => `stun:host${index}.test`)
    expect(reasonOf(() => pickIceServers({ iceServers: [{ urls }] }, 0))).toBe('INVALID_ARGUMENT')
  })
})
