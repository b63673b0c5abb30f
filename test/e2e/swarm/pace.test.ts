import { join, type Swarm } from '@mesh/client'
import { createServer } from '@mesh/server'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from './cast.ts'

/** Bulk through a real server at its default rates: as much as is allowed, and nothing that is refused. */
let server: ReturnType<typeof createServer>
let origin: string
let swarms: Swarm[]

afterEach(async () => {
  await Promise.all(swarms.map((swarm) => swarm.close()))
  await server.close({ drainMs: 0 })
})

async function relayedSwarms(count: number): Promise<Swarm[]> {
  server = createServer({ port: 0 })
  origin = (await server.listen()).origin
  swarms = []
  for (let i = 0; i < count; i++) {
    const target = { servers: origin, party: 'pace', identity: 'ephemeral', relay: 'only' } as const
    swarms.push(await join(target))
  }
  await until(async () => swarms.every(({ peers }) => peers.size === count - 1))
  return swarms
}

/** Envelopes that the server refused so far, whatever the reason. */
async function refusedEnvelopes(): Promise<number> {
  const text = await (await fetch(`${origin}/metrics`)).text()
  return Number(/^mesh_envelopes_total\{outcome="refused"\} (\d+)$/m.exec(text)?.[1])
}

/** What a swarm receives, in bytes. */
function countBytes(swarm: Swarm): { bytes: number } {
  const count = { bytes: 0 }
  swarm.on('message', (message) => {
    count.bytes += message.bytes.length
  })
  return count
}

const MIB = 1024 * 1024

describe('the relay path at a server with its default limits', () => {
  it('carries bulk of a pair at four fifths of its rate, after the burst, and is refused nothing', async () => {
    const [a, b] = (await relayedSwarms(2)) as [Swarm, Swarm]
    const received = countBytes(b)
    const refusedBefore = await refusedEnvelopes()
    const startedMs = performance.now()
    // The burst of 80 envelopes carries 3.75 MiB; 16 a second carry the rest.
    for (let i = 0; i < 6; i++) await a.send(new Uint8Array(MIB))
    const tookMs = performance.now() - startedMs
    expect(received.bytes).toBe(6 * MIB)
    expect(await refusedEnvelopes()).toBe(refusedBefore)
    expect(tookMs).toBeGreaterThan(2_000)
    expect(tookMs).toBeLessThan(15_000)
  })

  it('shares the rate of the session between pairs, and is refused nothing', async () => {
    const [a, ...others] = (await relayedSwarms(6)) as [Swarm, ...Swarm[]]
    const received = others.map(countBytes)
    const refusedBefore = await refusedEnvelopes()
    // Five pairs may send 80 envelopes a second; the session may send 50, after a burst of 200.
    for (let i = 0; i < 3; i++) await a.send(new Uint8Array(MIB))
    expect(received.map(({ bytes }) => bytes)).toEqual(Array(5).fill(3 * MIB))
    expect(await refusedEnvelopes()).toBe(refusedBefore)
  })
})
