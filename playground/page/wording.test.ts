import { ErrorReason, MeshError } from '@mesh/client'
import { describe, expect, test } from 'vitest'
import { avatarPattern } from './avatar-pattern.ts'
import { describeConnection } from './connection-words.ts'
import { explain } from './explain.ts'
import { describeDelivery } from './view/entry-view.ts'
import { describeStatus } from './view/header-view.ts'
import { movingStatus } from './view/transfer-card.ts'

describe('an error', () => {
  test('is told in words that its reason decides', () => {
    expect(explain(new MeshError(ErrorReason.PEER_LEFT, 'mesh1x left the swarm'))).toBe('They left the party.')
  })

  test('without words of its own is told as a sentence', () => {
    expect(explain(new MeshError(ErrorReason.ADDRESS_INVALID, 'party name is empty'))).toBe('Party name is empty.')
  })

  test('of any kind is told', () => {
    expect(explain(new TypeError('x is not a function'))).toContain('x is not a function')
  })
})

describe('a connection', () => {
  const NOW = 1_000_000_000

  test.each([
    [{ path: 'direct', presence: 'online', rttMs: 7, lastSeenMs: NOW }, 'direct', 'direct', '7 ms'],
    [{ path: 'relay', presence: 'online', rttMs: undefined, lastSeenMs: NOW }, 'through the server', 'relay', '–'],
    [{ path: 'none', presence: 'online', rttMs: 7, lastSeenMs: NOW }, 'reconnecting', 'none', ''],
    [{ path: 'none', presence: 'away', rttMs: 7, lastSeenMs: NOW - 95_000 }, 'away', 'away', 'seen 1 min ago'],
    [{ path: 'relay', presence: 'away', rttMs: 7, lastSeenMs: NOW - 40_000 }, 'away', 'away', 'seen 40 s ago'],
  ] as const)('%j is told as "%s"', (peer, words, tone, aside) => {
    expect(describeConnection(peer, NOW)).toEqual({ words, tone, aside })
  })
})

describe('the delivery of a message', () => {
  const failed = [{ name: 'Ada', why: 'They left the party.' }]

  test.each([
    [{ kind: 'sending' }, 'Sending…', 'wait'],
    [{ kind: 'sent', delivered: [], failed: [] }, 'Nobody was here to hear it', 'wait'],
    [{ kind: 'sent', delivered: ['Ada', 'Bob'], failed: [] }, 'Delivered to Ada and Bob', 'good'],
    [{ kind: 'sent', delivered: ['Ada', 'Bob', 'Cy'], failed: [] }, 'Delivered to 3', 'good'],
    [{ kind: 'sent', delivered: [], failed }, 'Ada did not get it: They left the party.', 'bad'],
    [{ kind: 'sent', delivered: ['Bob'], failed }, 'Delivered to 1. Ada did not get it: They left the party.', 'bad'],
    [{ kind: 'failed', why: 'The server does not answer.' }, 'Not sent. The server does not answer.', 'bad'],
  ] as const)('%j is told as "%s"', (delivery, words, tone) => {
    expect(describeDelivery(delivery)).toEqual({ words, tone })
  })
})

test('the status says why it waits', () => {
  expect(describeStatus({ kind: 'joined' }).tone).toBe('good')
  expect(describeStatus({ kind: 'joining' }).why).toBe('')
  expect(describeStatus({ kind: 'joining', why: 'No.' }).why).toBe('No. Trying again…')
  expect(describeStatus({ kind: 'reconnecting', why: 'The server does not answer.' }).why).toBe(
    'The server does not answer. Direct connections go on; trying again…',
  )
})

describe('a transfer under way', () => {
  test('shows speed and time left once they mean something', () => {
    expect(movingStatus(3_000_000, 12_000_000, 1_000)).toBe('3.0 MB of 12 MB, 3.0 MB/s, 0:03 left')
  })

  test.each([
    [0, 5_000],
    [3_000_000, 100],
  ])('shows no guess after %i bytes in %i ms', (moved, elapsedMs) => {
    expect(movingStatus(moved, 12_000_000, elapsedMs)).not.toContain('left')
  })
})

describe('the face of a key', () => {
  test('is symmetric', () => {
    const key = new Uint8Array(32).fill(0b0101_1011)
    const cells = new Set([...avatarPattern(key).matchAll(/M(\d) (\d)/g)].map(([, x, y]) => `${x} ${y}`))
    expect(cells.size).toBeGreaterThan(0)
    for (const cell of cells) {
      const [x = 0, y = 0] = cell.split(' ').map(Number)
      expect(cells).toContain(`${4 - x} ${y}`)
    }
  })

  test('is never blank', () => {
    expect(avatarPattern(new Uint8Array(32))).not.toBe('')
  })
})
