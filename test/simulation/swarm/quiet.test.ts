import { afterEach, describe, expect, it } from 'vitest'
import { type JoinOptions, joinOn } from '../../../client/mesh-client.ts'
import { counting, type Traffic } from './counting-platform.ts'
import { drivenWorld, type TestPeer, type World, watch } from './driven-world.ts'

/**
 * What a connected peer costs its server while nothing happens, as docs/performance.md publishes it: heartbeats, and the renewal
 * of records every ten minutes. Nothing is sent to keep links alive, whatever path they have.
 */
const HEARTBEATS_PER_MINUTE = 6
/** A record is renewed after 600 s: a call and its answer, an event for every other member, and what acknowledges events. */
const RENEWALS_PER_MINUTE = 0.1
/** Attempts at a direct path that is blocked: they become rarer, up to one in a quarter of an hour. */
const BLOCKED_PER_MINUTE = 4
const MINUTES = 10

let world: World
let joined: TestPeer[]

afterEach(async () => {
  await world.settled(Promise.all(joined.map(({ swarm }) => swarm.close())))
})

interface CountedPeer extends TestPeer {
  readonly traffic: Traffic
}

async function join(options: Partial<JoinOptions> = {}): Promise<CountedPeer> {
  const { platform, traffic } = counting(world.platform)
  const joining = joinOn(platform, { servers: world.server, party: 'party', identity: 'ephemeral', ...options })
  const peer = { ...watch(await world.settled(joining)), traffic }
  joined.push(peer)
  return peer
}

/** Connects peers, lets them come to rest for three minutes, and counts ten. */
async function idle(count: number, duplex: boolean, options: Partial<JoinOptions>, blocked = false) {
  world = await drivenWorld({ duplex })
  joined = []
  world.rtc.blocked = blocked
  let envelopes = 0
  world.signaling.tampering.envelope = (envelope) => {
    envelopes++
    return envelope
  }
  const peers: CountedPeer[] = []
  for (let i = 0; i < count; i++) peers.push(await join(options))
  await world.until('connected', () => peers.every(({ swarm }) => swarm.peers.size === count - 1))
  await world.clock.advance(180_000)
  for (const { traffic } of peers) traffic.sent = traffic.received = 0
  envelopes = 0
  await world.clock.advance(MINUTES * 60_000)
  const perMinute = peers.map(({ traffic: { sent, received } }) => (sent + received) / MINUTES)
  return { peers, envelopes, perMinute: Math.max(...perMinute) }
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('an idle peer over %s', (_name, duplex) => {
  it.each([
    ['a direct path', {}, 'direct'],
    ['the relay path', { rtc: null }, 'relay'],
  ] as const)('with %s costs heartbeats and renewals, and no envelope', async (_path, options, path) => {
    const { peers, envelopes, perMinute } = await idle(2, duplex, options)
    expect(peers.flatMap(({ swarm }) => [...swarm.peers.values()].map((peer) => peer.path))).toEqual([path, path])
    expect(envelopes).toBe(0)
    expect(perMinute).toBeLessThanOrEqual(HEARTBEATS_PER_MINUTE + (2 + 2) * RENEWALS_PER_MINUTE)
    expect(perMinute).toBeGreaterThanOrEqual(HEARTBEATS_PER_MINUTE)
  })

  it('costs a little more while it tries for a direct path that is blocked', async () => {
    const { perMinute } = await idle(2, duplex, {}, true)
    expect(perMinute).toBeLessThanOrEqual(HEARTBEATS_PER_MINUTE + (2 + 2) * RENEWALS_PER_MINUTE + BLOCKED_PER_MINUTE)
  })

  it('hears of every other member once in ten minutes', async () => {
    const { envelopes, perMinute } = await idle(5, duplex, {})
    expect(envelopes).toBe(0)
    expect(perMinute).toBeLessThanOrEqual(HEARTBEATS_PER_MINUTE + (5 + 2) * RENEWALS_PER_MINUTE)
  })
})
