import type { Message, Swarm } from '@mesh/client'
import { VirtualClock } from '@mesh/core'
import { type JoinOptions, joinOn } from '../../../client/mesh-client.ts'
import { type MemoryNetwork, memoryNetwork } from '../../../client/testing/index.ts'

/**
 * The real SDK on a network in memory and a clock that moves only when everything has come to rest: WebCrypto works in a
 * thread pool, so rest means that no operation of it is pending and nothing follows from the last one.
 */
let pendingCrypto = 0

function trackCrypto(): void {
  const subtle = crypto.subtle as unknown as Record<string, (...parameters: unknown[]) => Promise<unknown>>
  const names = [
    'sign',
    'verify',
    'encrypt',
    'decrypt',
    'deriveBits',
    'deriveKey',
    'importKey',
    'exportKey',
    'generateKey',
    'digest',
  ]
  for (const name of names) {
    const original = subtle[name]?.bind(crypto.subtle)
    if (!original) continue
    subtle[name] = (...parameters) => {
      pendingCrypto++
      return original(...parameters).finally(() => pendingCrypto--)
    }
  }
}
trackCrypto()

async function rest(): Promise<void> {
  for (let quietTurns = 0; quietTurns < 3; quietTurns++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (pendingCrypto > 0) quietTurns = -1
  }
}

export interface World extends MemoryNetwork {
  readonly clock: VirtualClock
  /** Joins a party; time moves while it does. */
  join(party: JoinOptions['party'], options?: Partial<JoinOptions>): Promise<TestPeer>
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

export async function drivenWorld(): Promise<World> {
  const clock = new VirtualClock(undefined, { settle: rest })
  const network = await memoryNetwork({ clock })
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
  for (const name of ['join', 'leave', 'update', 'restart'] as const)
    swarm.on(name, ({ id }) => peer.log.push(`${name} ${id}`))
  return peer
}
