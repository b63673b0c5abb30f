import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import type { RtcSignal } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { FakeRtc } from './fake-rtc.fixture.ts'
import { RtcAttempt } from './rtc-attempt.ts'

let clock: VirtualClock
let rtc: FakeRtc
let signals: RtcSignal['signal'][]
let opened: number
let errors: MeshError[]

beforeEach(() => {
  clock = new VirtualClock()
  rtc = new FakeRtc()
  signals = []
  opened = 0
  errors = []
})

async function begin(offerer: boolean): Promise<RtcAttempt> {
  const attempt = new RtcAttempt({
    factory: rtc,
    configuration: { iceServers: [], iceTransportPolicy: 'all' },
    clock,
    offerer,
    signal: (signal) => signals.push(signal),
    onOpen: () => opened++,
    onEnd: (error) => errors.push(error),
  })
  await clock.advance(0)
  return attempt
}

function candidate(text: string): RtcSignal['signal'] {
  const value = { candidate: text, sdpMid: '0', sdpMLineIndex: 0, usernameFragment: '' }
  return { case: 'candidate', value: { $typeName: 'mesh.peer.v1.IceCandidate', ...value } }
}

function reasons(): string[] {
  return errors.map(({ reasonName }) => reasonName)
}

describe('RTC attempt', () => {
  it('sends its offer before it applies it, then its candidates and their end', async () => {
    await begin(true)
    expect(signals).toEqual([{ case: 'offer', value: 'own offer' }])
    expect(rtc.last.log).toEqual(['local offer'])
    rtc.last.gathered('a')
    rtc.last.emit('icecandidate', { candidate: null })
    expect(signals.slice(1)).toEqual([candidate('a'), candidate('')])
  })

  it('answers an offer, before it applies the answer', async () => {
    const attempt = await begin(false)
    expect(signals).toEqual([])
    attempt.receive({ case: 'offer', value: 'their offer' })
    await clock.advance(0)
    expect(rtc.last.log).toEqual(['remote offer their offer', 'local answer'])
    expect(signals).toEqual([{ case: 'answer', value: 'own answer' }])
  })

  it.each([
    ['an offer', false],
    ['an answer', true],
  ] as const)('holds candidates until %s is here', async (_what, offerer) => {
    const attempt = await begin(offerer)
    attempt.receive(candidate('early'))
    await clock.advance(0)
    expect(rtc.last.log.filter((entry) => entry.startsWith('candidate'))).toEqual([])
    attempt.receive(offerer ? { case: 'answer', value: 'x' } : { case: 'offer', value: 'x' })
    attempt.receive(candidate('late'))
    await clock.advance(0)
    const applied = rtc.last.log.filter((entry) => entry.startsWith('candidate'))
    expect(applied).toEqual(['candidate early', 'candidate late'])
    expect(attempt.candidates.remote).toBe(2)
  })

  it('takes signals that come before the connection exists', async () => {
    const gate = Promise.withResolvers<void>()
    rtc.gate = gate.promise
    const attempt = await begin(false)
    attempt.receive({ case: 'offer', value: 'their offer' })
    await clock.advance(0)
    gate.resolve()
    await clock.advance(0)
    expect(rtc.last.log[0]).toBe('remote offer their offer')
  })

  it('survives a candidate that is refused', async () => {
    const attempt = await begin(false)
    rtc.last.refuseCandidates = true
    attempt.receive({ case: 'offer', value: 'x' })
    attempt.receive(candidate('broken'))
    await clock.advance(0)
    expect(errors).toEqual([])
  })

  it('takes at most 64 candidates, and no more ends of them', async () => {
    const attempt = await begin(false)
    for (let i = 0; i < 100; i++) attempt.receive(candidate(i % 2 ? '' : `c${i}`))
    await clock.advance(0)
    attempt.receive({ case: 'offer', value: 'x' })
    await clock.advance(0)
    expect(rtc.last.log.filter((entry) => entry.startsWith('candidate'))).toHaveLength(64)
  })

  it('opens once, and stops its timer', async () => {
    const attempt = await begin(true)
    rtc.last.open()
    rtc.last.open()
    expect([opened, attempt.opened]).toEqual([1, true])
    expect(rtc.last.channel.binaryType).toBe('arraybuffer')
    await clock.advance(60_000)
    expect(errors).toEqual([])
  })

  it.each([
    ['nothing was gathered here', [], ['r'], 'new', 'NO_CANDIDATES', 'this side'],
    ['nothing came from there', ['l'], [], 'new', 'NO_CANDIDATES', 'the other side'],
    ['no pair of candidates works', ['l'], ['r'], 'checking', 'ICE_FAILED', '1 local and 1 remote'],
    ['ICE connects and the channel does not open', ['l'], ['r'], 'connected', 'DTLS_FAILED', 'did not open'],
  ])('ends after 10 s, saying that %s', async (_what, local, remote, state, reasonName, text) => {
    const attempt = await begin(true)
    for (const one of local) rtc.last.gathered(one)
    for (const one of remote) attempt.receive(candidate(one))
    rtc.last.iceConnectionState = state
    await clock.advance(9_999)
    expect(errors).toEqual([])
    await clock.advance(1)
    expect(errors).toMatchObject([{ reasonName, retryable: true }])
    expect(errors[0]?.message).toContain(text)
    expect(rtc.last.closed).toBe(true)
  })

  it('says that a TURN server refused the credentials, when nothing else worked', async () => {
    await begin(true)
    rtc.last.emit('icecandidateerror', { errorCode: 401, errorText: 'Unauthorized' })
    rtc.last.fail()
    expect(reasons()).toEqual(['RELAY_CREDENTIALS'])
  })

  it('does not blame the credentials for a TURN server that does not answer', async () => {
    await begin(true)
    rtc.last.emit('icecandidateerror', { errorCode: 701, errorText: 'timeout' })
    rtc.last.fail()
    expect(reasons()).toEqual(['NO_CANDIDATES'])
  })

  it.each([
    ['the connection fails', () => rtc.last.fail()],
    ['the connection closes', () => rtc.last.close()],
    ['the channel closes', () => rtc.last.channel.end()],
  ])('ends once when %s after it opened', async (_what, happen) => {
    await begin(true)
    rtc.last.open()
    happen()
    expect(reasons()).toEqual(['ICE_FAILED'])
    expect(rtc.last.closed).toBe(true)
  })

  it('ends when a description is refused', async () => {
    const attempt = await begin(false)
    rtc.last.refuseDescriptions = true
    attempt.receive({ case: 'offer', value: 'nonsense' })
    await clock.advance(0)
    expect(reasons()).toEqual(['DTLS_FAILED'])
    expect(errors[0]?.cause).toBeInstanceOf(DOMException)
  })

  it('refuses a description of more than 16 KiB without parsing it', async () => {
    const attempt = await begin(false)
    attempt.receive({ case: 'offer', value: 'x'.repeat(16_385) })
    await clock.advance(0)
    expect(errors).toMatchObject([{ reasonName: 'FRAME_INVALID', limit: 'sdp_bytes' }])
    expect(rtc.last.log).toEqual([])
  })

  it('ends when the other side gave up, for the reason seen from here', async () => {
    const attempt = await begin(true)
    rtc.last.gathered('l')
    attempt.receive(candidate('r'))
    attempt.receive({ case: 'failure', value: new MeshError(ErrorReason.NO_CANDIDATES, '').toDetail() })
    await clock.advance(0)
    expect(reasons()).toEqual(['ICE_FAILED'])
  })

  it('ends with RTC_UNAVAILABLE when the other side has no WebRTC, or this one refuses the configuration', async () => {
    const attempt = await begin(true)
    attempt.receive({ case: 'failure', value: new MeshError(ErrorReason.RTC_UNAVAILABLE, '').toDetail() })
    await clock.advance(0)
    rtc.gate = Promise.reject(new DOMException('bad url', 'SyntaxError'))
    await begin(true)
    expect(reasons()).toEqual(['RTC_UNAVAILABLE', 'RTC_UNAVAILABLE'])
  })

  it('is silent after close, and leaves nothing open', async () => {
    const attempt = await begin(true)
    const { last } = rtc
    attempt.close()
    attempt.close()
    last.gathered('late')
    attempt.receive({ case: 'answer', value: 'late' })
    last.open()
    await clock.advance(60_000)
    expect(signals).toHaveLength(1)
    expect([opened, errors, last.closed, clock.pending]).toEqual([0, [], true, 0])
  })

  it('closes a connection that is made after close', async () => {
    const gate = Promise.withResolvers<void>()
    rtc.gate = gate.promise
    const attempt = await begin(true)
    attempt.close()
    gate.resolve()
    await clock.advance(0)
    expect(rtc.last.closed).toBe(true)
    expect(signals).toEqual([])
  })
})
