import { MeshError } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { usableCandidate } from './remote-candidate.ts'

describe('usableCandidate', () => {
  test.each([
    [
      'candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host generation 0',
      '1 1 udp 2113937151 192.0.2.1 50000 typ host',
    ],
    ['a=candidate:ab/+ 1 UDP 7 2001:db8::5 1 typ relay raddr 0.0.0.0 rport 0', 'ab/+ 1 udp 7 2001:db8::5 1 typ relay'],
    ['candidate:1 1 udp 1 192.0.2.1 9 typ prflx', '1 1 udp 1 192.0.2.1 9 typ srflx'],
  ])('keeps what is needed of %s', (line, kept) => {
    expect(usableCandidate(line)).toBe(kept)
  })

  test.each([
    'candidate:1 1 udp 1 5d9a2b3c-0000-4000-8000-000000000000.local 50000 typ host',
    'candidate:1 1 udp 1 internal.example.org 50000 typ host',
    'candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active',
    'candidate:1 2 udp 1 192.0.2.1 9 typ host',
    'candidate:1 1 udp 1 192.0.2.1 0 typ host',
    'candidate:1 1 udp 1 192.0.2.1 65536 typ host',
    'candidate:1 1 udp 4294967296 192.0.2.1 9 typ host',
    'candidate:1 1 udp 1 0.0.0.0 9 typ host',
    'candidate:1 1 udp 1 224.0.0.1 9 typ host',
    'candidate:1 1 udp 1 255.255.255.255 9 typ host',
    'candidate:1 1 udp 1 ff02::1 9 typ host',
    'candidate:1 1 udp 1 :: 9 typ host',
  ])('passes over %s', (line) => {
    expect(usableCandidate(line)).toBeUndefined()
  })

  test.each([
    '',
    'candidate:',
    'candidate:1 1 udp 1 192.0.2.1 9 typ magic',
    `candidate:1 1 udp 1 ${'x'.repeat(2000)} 9 typ host`,
  ])('refuses %j', (line) => {
    expect(() => usableCandidate(line)).toThrow(MeshError)
  })
})
