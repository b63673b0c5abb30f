import type { Message, Swarm } from '@mesh/client'
import type { SigningKey, VirtualClock } from '@mesh/core'
import { type JoinOptions, joinOn } from '../../../client/mesh-client.ts'
import { restingClock } from '../../../client/testing/at-rest.fixture.ts'
import { type MemoryNetwork, type MemoryNetworkOptions, memoryNetwork } from '../../../client/testing/index.ts'
import { mortal } from './mortal-platform.ts'
import { type SleepyPlatform, sleepy } from './sleepy-platform.ts'

/** The real SDK on a network in memory and a clock that moves only when everything has come to rest. */

export interface World extends MemoryNetwork {
  readonly clock: VirtualClock
  /** Joins a party; time moves while it does. */
  join(party: JoinOptions['party'], options?: Partial<JoinOptions>): Promise<TestPeer>
  /** Joins as a process of its own, which `kill` ends without a word. */
  joinMortal(party: JoinOptions['party'], identity: SigningKey): Promise<MortalPeer>
  /** Joins on a machine that `sleep` puts to sleep. */
  joinSleepy(party: JoinOptions['party'], options?: Partial<JoinOptions>): Promise<SleepyPeer>
  /** Moves time until the condition holds; throws after `limitMs` of virtual time, naming what was waited for. */
  until(what: string, condition: () => boolean, limitMs?: number): Promise<void>
  /** Moves time until the promise settles. */
  settled<T>(promise: Promise<T>, limitMs?: number): Promise<T>
  closeAll(): Promise<void>
}

/** A swarm with everything it said, in order. */
export interface TestPeer {
  readonly swarm: Swarm
  readonly messages: Message[]
  readonly texts: string[]
  readonly log: string[]
}

export interface MortalPeer extends TestPeer {
  kill(): void
}

export interface SleepyPeer extends TestPeer, Omit<SleepyPlatform, 'platform'> {}

export async function drivenWorld(options: Omit<MemoryNetworkOptions, 'clock'> = {}): Promise<World> {
  const clock = restingClock()
  const network = await memoryNetwork({ clock, ...options })
  const peers: TestPeer[] = []

  const until = async (what: string, condition: () => boolean, limitMs = 60_000): Promise<void> => {
    const endMs = clock.monotonicMs() + limitMs
    await clock.advance(0)
    while (!condition()) {
      if (clock.monotonicMs() >= endMs) throw new Error(`${what} did not happen within ${limitMs} ms`)
      await clock.advance(Math.min(clock.msUntilNext ?? 100, 100))
    }
  }

  const settled = async <T>(promise: Promise<T>, limitMs?: number): Promise<T> => {
    let done = false
    const finish = () => {
      done = true
    }
    promise.then(finish, finish)
    await until('the promise to settle', () => done, limitMs)
    return promise
  }

  return {
    ...network,
    clock,
    until,
    settled,
    async join(party, options = {}) {
      const joining = joinOn(network.platform, { servers: network.server, party, identity: 'ephemeral', ...options })
      const peer = watch(await settled(joining))
      peers.push(peer)
      return peer
    },
    async joinMortal(party, identity) {
      const { platform, kill } = mortal(network.platform)
      const joining = joinOn(platform, { servers: network.server, party, identity })
      return { ...watch(await settled(joining)), kill }
    },
    async joinSleepy(party, options = {}) {
      const { platform, ...machine } = sleepy(network.platform)
      const joining = joinOn(platform, { servers: network.server, party, identity: 'ephemeral', ...options })
      const peer = { ...watch(await settled(joining)), ...machine }
      peers.push(peer)
      return peer
    },
    closeAll: async () => {
      await settled(Promise.all(peers.map(({ swarm }) => swarm.close())))
    },
  }
}

export function watch(swarm: Swarm): TestPeer {
  const peer: TestPeer = { swarm, messages: [], texts: [], log: [] }
  swarm.on('message', (message) => {
    peer.messages.push(message)
    peer.texts.push(message.text())
  })
  for (const name of ['join', 'leave', 'update', 'presence', 'restart'] as const)
    swarm.on(name, ({ id }) => peer.log.push(`${name} ${id}`))
  return peer
}
