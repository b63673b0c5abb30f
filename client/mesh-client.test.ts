import { ErrorReason, generateSigningKey, MeshError, parsePeerId, type VirtualClock } from '@mesh/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { IdentityStore } from './identity/identity.ts'
import { ephemeralIdentity } from './identity/identity.ts'
import { createClientOn, joinOn, type MeshClient } from './mesh-client.ts'
import type { Platform } from './platform.ts'
import { restingClock } from './testing/at-rest.fixture.ts'
import { type MemoryNetwork, memoryNetwork } from './testing/index.ts'

let clock: VirtualClock
let network: MemoryNetwork
let platform: Platform
/** "acquire default", "release", in order. */
let identities: string[]
let unhandled: unknown[]

const onUnhandled = (error: unknown) => unhandled.push(error)

beforeEach(async () => {
  clock = restingClock()
  network = await memoryNetwork({ clock })
  identities = []
  unhandled = []
  const store: IdentityStore = {
    async acquire(name) {
      identities.push(`acquire ${name}`)
      return { ...(await ephemeralIdentity()), release: async () => void identities.push('release') }
    },
  }
  platform = { ...network.platform, identities: store }
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  await clock.advance(0)
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
  // Whatever was opened has been closed by its test.
  await clock.advance(60_000)
  expect(clock.pending).toBe(0)
})

/** Moves time until the promise settles. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  let done = false
  const finish = () => {
    done = true
  }
  promise.then(finish, finish)
  await clock.advance(0)
  for (let i = 0; i < 1_000 && !done; i++) await clock.advance(50)
  return promise
}

function reasonOf(promise: Promise<unknown>): Promise<string> {
  return settled(promise).then(
    () => 'done',
    (error: MeshError) => error.reasonName,
  )
}

function client(): Promise<MeshClient> {
  return settled(createClientOn(platform, { servers: network.server }))
}

describe('client', () => {
  it('holds an identity from its making until it is closed', async () => {
    const one = await client()
    expect(parsePeerId(one.id)).toHaveLength(32)
    expect(identities).toEqual(['acquire default'])
    const closing = one.close()
    expect(one.close()).toBe(closing)
    await settled(closing)
    expect(identities).toEqual(['acquire default', 'release'])
  })

  it('joins several swarms, each once, and again after it left', async () => {
    const one = await client()
    const [red, blue] = await settled(Promise.all([one.join('red'), one.join('blue')]))
    expect([red.status, blue.status]).toEqual(['joined', 'joined'])
    expect(await reasonOf(one.join('red'))).toBe('CONFIGURATION')
    await settled(red.close())
    const again = await settled(one.join('red'))
    expect(again.topic).toEqual(red.topic)
    await settled(one.close())
    expect([again.status, blue.status]).toEqual(['closed', 'closed'])
    expect(await reasonOf(one.join('green'))).toBe('SESSION_CLOSED')
  })

  it('gives up joining when aborted, before or meanwhile, and can join later', async () => {
    const one = await client()
    expect(await reasonOf(one.join('party', { signal: AbortSignal.abort() }))).toBe('ABORTED')
    const controller = new AbortController()
    const joining = one.join('party', { signal: controller.signal })
    controller.abort()
    expect(await reasonOf(joining)).toBe('ABORTED')
    expect((await settled(one.join('party'))).status).toBe('joined')
    await settled(one.close())
  })

  it.each([
    ['no server', { servers: [] }, 'CONFIGURATION'],
    ['nine servers', { servers: Array.from({ length: 9 }, (_, i) => `mesh://s${i}`) }, 'CONFIGURATION'],
    ['a server with a party', { servers: 'mesh://a/party' }, 'ADDRESS_INVALID'],
    ['an identity name with a path in it', { servers: 'mesh://a', identity: '../x' }, 'CONFIGURATION'],
  ])('refuses %s, and holds no identity', async (_what, options, reason) => {
    expect(await reasonOf(createClientOn(platform, options))).toBe(reason)
    expect(identities).toEqual([])
  })

  it('releases the identity also when something else fails to close', async () => {
    const connect = platform.connect.bind(platform)
    platform = {
      ...platform,
      connect: (origin) => ({
        ...connect(origin),
        close: () => {
          throw new Error('the transport is stuck')
        },
      }),
    }
    const one = await client()
    await expect(settled(one.close())).rejects.toThrow('stuck')
    expect(identities.at(-1)).toBe('release')
  })
})

describe('join', () => {
  const join = (party: string, options: object = {}) => joinOn(platform, { servers: network.server, party, ...options })

  it('closes its client with the swarm', async () => {
    const swarm = await settled(join('party'))
    await settled(swarm.close())
    await settled(swarm.close())
    expect(identities).toEqual(['acquire default', 'release'])
  })

  it('closes its client when it fails', async () => {
    expect(await reasonOf(join('party', { signal: AbortSignal.abort() }))).toBe('ABORTED')
    expect(await reasonOf(join('party', { serverKey: new Uint8Array(32) }))).toBe('SERVER_KEY_MISMATCH')
    expect(await reasonOf(join('party', { state: new Uint8Array(1_025) }))).toBe('RECORD_STATE')
    expect(identities.filter((entry) => entry === 'release')).toHaveLength(3)
  })

  it('refuses a bad party or address before it takes an identity', async () => {
    expect(await reasonOf(join(''))).toBe('ADDRESS_INVALID')
    expect(await reasonOf(joinOn(platform, 'mesh://localhost'))).toBe('ADDRESS_INVALID')
    expect(identities).toEqual([])
  })

  it('uses the key of the caller, or one that is never stored', async () => {
    const key = await generateSigningKey()
    const mine = await settled(join('party', { identity: key }))
    const other = await settled(join('party', { identity: 'ephemeral' }))
    expect(parsePeerId(mine.id)).toEqual(key.publicKey)
    expect(other.id).not.toBe(mine.id)
    expect(identities).toEqual([])
    await settled(Promise.all([mine.close(), other.close()]))
  })
})

describe('a closed swarm', () => {
  it('sends nothing, sets nothing, and ends whoever waits for an event', async () => {
    const swarm = await settled(joinOn(platform, { servers: network.server, party: 'party' }))
    const next = swarm.once('join').catch((error: MeshError) => error)
    const messages = swarm.messages()[Symbol.asyncIterator]().next()
    await settled(swarm.close())
    expect(await next).toMatchObject({ reason: ErrorReason.LINK_CLOSED })
    expect((await messages).done).toBe(true)
    await expect(swarm.send('late')).rejects.toMatchObject({ reason: ErrorReason.LINK_CLOSED })
    expect(() => swarm.setState(new Uint8Array(1))).toThrow(MeshError)
    await expect(swarm.once('join')).rejects.toMatchObject({ reason: ErrorReason.LINK_CLOSED })
  })

  it('tells its status and error when another process takes the identity over', async () => {
    const swarm = await settled(joinOn(platform, { servers: network.server, party: 'party' }))
    const log: string[] = []
    swarm.on('error', ({ reasonName }) => log.push(reasonName))
    swarm.on('status', (status) => log.push(status))
    network.signaling.inject(parsePeerId(swarm.id), {
      case: 'notice',
      value: {
        $typeName: 'mesh.signal.v1.NoticeEvent',
        kind: 2,
        deadlineMs: 0,
        successor: '',
        successorKey: new Uint8Array(0),
      },
    })
    await clock.advance(2_000)
    expect(log).toEqual(['SESSION_REPLACED', 'closed'])
    expect(identities.at(-1)).toBe('release')
  })
})
