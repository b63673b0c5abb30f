import { createHmac } from 'node:crypto'
import { seededRandom, VirtualClock } from '@mesh/core'
import { expect, test } from 'vitest'
import { iceServersFor } from './ice-servers.ts'

const iceServers = [{ urls: ['stun:stun.example:3478'] }]
const clock = new VirtualClock(1_700_000_000_500)
const base = { iceServers, turnCredentialTtlMs: 3_600_000, clock, random: seededRandom(1) }

test('configured ICE servers are passed on as they are', () => {
  expect(iceServersFor({ ...base, turn: undefined })).toMatchObject([
    { urls: ['stun:stun.example:3478'], username: '', credential: '' },
  ])
})

test('TURN credentials are expiry and pseudonym with their HMAC-SHA1, different for every session', () => {
  const turn = { urls: ['turn:turn.example'], secret: 'north' }
  const [, first] = iceServersFor({ ...base, turn })
  const [, second] = iceServersFor({ ...base, turn })
  expect(first?.username).toMatch(/^1700003600:[0-9a-f]{16}$/)
  expect(first?.credential).toBe(
    createHmac('sha1', 'north')
      .update(first?.username as string)
      .digest('base64'),
  )
  expect(second?.username).not.toBe(first?.username)
})
