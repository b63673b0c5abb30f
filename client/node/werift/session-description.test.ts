import { MeshError } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { readRemoteDescription } from './session-description.ts'

const FINGERPRINT = Array.from({ length: 32 }, (_, index) => index.toString(16).padStart(2, '0').toUpperCase()).join(
  ':',
)

/** As Chromium writes it. */
const OFFER = [
  'v=0',
  'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0',
  'a=extmap-allow-mixed',
  'a=msid-semantic: WMS',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'c=IN IP4 0.0.0.0',
  'a=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host generation 0 network-cost 999',
  'a=candidate:2 1 udp 2113937151 5d9a2b3c-0000-4000-8000-000000000000.local 50001 typ host',
  'a=ice-ufrag:8hhY',
  'a=ice-pwd:asd88fgpdd777uzjYhagZgcd',
  'a=ice-options:trickle',
  `a=fingerprint:sha-256 ${FINGERPRINT}`,
  'a=setup:actpass',
  'a=mid:0',
  'a=sctp-port:5000',
  'a=max-message-size:262144',
  '',
].join('\r\n')

function reasonOf(sdp: string, type: 'offer' | 'answer' = 'offer'): string {
  try {
    readRemoteDescription({ type, sdp })
  } catch (error) {
    if (error instanceof MeshError) return error.reasonName
    throw error
  }
  return 'none'
}

describe('readRemoteDescription', () => {
  test('takes what a data channel needs and writes the rest anew', () => {
    const description = readRemoteDescription({ type: 'offer', sdp: OFFER })
    expect(description.fingerprint).toEqual(Buffer.from(Array.from({ length: 32 }, (_, index) => index)))
    expect(description.candidates).toEqual(['1 1 udp 2113937151 192.0.2.1 50000 typ host'])
    expect(description.sdp).toContain('a=ice-ufrag:8hhY\r\n')
    expect(description.sdp).toContain('a=max-message-size:65536\r\n')
    expect(description.sdp).not.toContain('extmap')
    expect(description.sdp).not.toContain('candidate')
  })

  test.each<[string, (sdp: string) => string, string]>([
    ['no fingerprint', (sdp) => sdp.replace(/a=fingerprint.*\r\n/, ''), 'DTLS_FAILED'],
    ['two fingerprints', (sdp) => sdp.replace(/(a=fingerprint.*\r\n)/, '$1$1'), 'DTLS_FAILED'],
    [
      'a fingerprint of the session too',
      (sdp) => sdp.replace('t=0 0', `t=0 0\r\na=fingerprint:sha-256 ${FINGERPRINT}`),
      'DTLS_FAILED',
    ],
    ['another hash', (sdp) => sdp.replace('sha-256', 'sha-1'), 'DTLS_FAILED'],
    ['a short fingerprint', (sdp) => sdp.replace(':1F\r\n', '\r\n'), 'DTLS_FAILED'],
    ['no media section', (sdp) => sdp.replace(/m=.*\r\n/, ''), 'INVALID_ARGUMENT'],
    ['a video section', (sdp) => `${sdp}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n`, 'INVALID_ARGUMENT'],
    ['a role that an offer does not have', (sdp) => sdp.replace('actpass', 'active'), 'INVALID_ARGUMENT'],
    ['two passwords', (sdp) => sdp.replace(/(a=ice-pwd.*\r\n)/, '$1$1'), 'INVALID_ARGUMENT'],
    ['a short password', (sdp) => sdp.replace(/a=ice-pwd.*/, 'a=ice-pwd:short'), 'INVALID_ARGUMENT'],
    ['a name with a line break', (sdp) => sdp.replace('8hhY', '8hhY\rx'), 'INVALID_ARGUMENT'],
    ['port 0', (sdp) => sdp.replace('sctp-port:5000', 'sctp-port:0'), 'INVALID_ARGUMENT'],
    ['a candidate that is none', (sdp) => `${sdp}a=candidate:x\r\n`, 'INVALID_ARGUMENT'],
    [
      'too many candidates',
      (sdp) => sdp + 'a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n'.repeat(65),
      'INVALID_ARGUMENT',
    ],
    ['a novel', (sdp) => sdp + 'a=x\r\n'.repeat(10_000), 'INVALID_ARGUMENT'],
  ])('refuses a description with %s', (_, change, reason) => {
    const changed = change(OFFER)
    expect(changed).not.toBe(OFFER)
    expect(reasonOf(changed)).toBe(reason)
  })

  test('refuses an answer that leaves the DTLS role open', () => {
    expect(reasonOf(OFFER, 'answer')).toBe('INVALID_ARGUMENT')
  })
})
