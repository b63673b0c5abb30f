import { expect, test } from 'vitest'
import { type FederationStatus, lagOf, renderFederation } from './federation-status.ts'

const gauges = { sessions: 1, streams: 2, topics: 3, members: 4, heldEnvelopes: 5, connections: 6, uptimeSeconds: 7 }

const origin: FederationStatus['origins'][number] = {
  key: new Uint8Array(32).fill(0xab),
  epoch: 2n ** 63n,
  seq: 10n,
  head: 12n,
  rows: 3,
  digest: new Uint8Array(32).fill(1),
  state: 'live',
  via: new Uint8Array(32).fill(0xcd),
  msSinceState: 12.6,
}

test('the state of a federation is JSON without loss', () => {
  const status: FederationStatus = {
    realm: 'test',
    key: new Uint8Array(32).fill(2),
    origins: [origin],
    neighbours: [
      {
        key: origin.key,
        url: 'http://b.example:4600',
        directory: true,
        messages: false,
        upMs: { directory: 1, messages: undefined },
        rttMs: 1.4,
        lastError: 'UNREACHABLE: no route',
      },
    ],
  }
  expect(JSON.parse(renderFederation(status, gauges))).toEqual({
    federated: true,
    realm: 'test',
    key: '02'.repeat(32),
    stats: gauges,
    origins: [
      {
        key: 'ab'.repeat(32),
        epoch: '9223372036854775808',
        seq: '10',
        head: '12',
        lag: 2,
        rows: 3,
        digest: '01'.repeat(32),
        state: 'live',
        via: 'cd'.repeat(32),
        msSinceState: 13,
      },
    ],
    neighbours: [
      {
        key: 'ab'.repeat(32),
        url: 'http://b.example:4600',
        directory: true,
        messages: false,
        rttMs: 1,
        lastError: 'UNREACHABLE: no route',
      },
    ],
  })
})

test('a server that stands alone says so', () => {
  expect(JSON.parse(renderFederation(undefined, gauges))).toEqual({ federated: false, stats: gauges })
})

test('a replica that is ahead of the last state it heard has no lag', () => {
  expect(lagOf({ ...origin, seq: 13n })).toBe(0n)
})
