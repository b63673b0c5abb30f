import { join, type RtcFactory, type Swarm } from '@mesh/client'
import { generateSigningKey } from '@mesh/core'

/** Runs in Node and in pages: somebody joins a resident who greets, and looks at how their link comes about. */

export interface Meeting {
  readonly origin: string
  /** Public key of the party, 32 bytes. */
  readonly party: readonly number[]
}

/** As a type, so that it is a record of measurements. */
export type LinkTimes = {
  /** A call to the server and its answer, by the line that the link's messages take. */
  readonly roundTripMs: number
  /** From the answer to Join, which shows the resident, to its greeting, which it sends when the link is open. */
  readonly firstMs: number
  /** From the link's opening, on the relay path, to the direct path. */
  readonly upgradeMs: number
}

const PINGS = 5

/** Joins a new party and greets whoever comes. `rtc` is shared by all peers of a process: none makes a certificate. */
export async function host(origin: string, rtc: RtcFactory | undefined): Promise<Meeting> {
  const meeting = { origin, party: [...(await generateSigningKey()).publicKey] }
  const swarm = await enter(meeting, rtc)
  // The newcomer may be gone before the greeting is acknowledged; a lost one would show in its measurement.
  swarm.on('join', (peer) => void peer.send('hello').catch(() => {}))
  return meeting
}

/** Joins as somebody new and leaves when the direct path is there. */
export async function visit(meeting: Meeting, rtc: RtcFactory | undefined): Promise<LinkTimes> {
  const swarm = await enter(meeting, rtc)
  const joinedMs = performance.now()
  const [firstMs, openedMs, directMs] = await Promise.all([
    new Promise<number>((resolve) => swarm.on('message', () => resolve(performance.now()))),
    new Promise<number>((resolve) => swarm.on('join', () => resolve(performance.now()))),
    new Promise<number>((resolve) => {
      swarm.on('path', ({ path }) => {
        if (path === 'direct') resolve(performance.now())
      })
    }),
  ])
  const times = { firstMs: firstMs - joinedMs, upgradeMs: directMs - openedMs }
  await swarm.close()
  return { ...times, roundTripMs: await roundTripMs(meeting.origin) }
}

/** The median of a few calls that cost the server next to nothing; one that had to connect first is above it. */
async function roundTripMs(origin: string): Promise<number> {
  const samples: number[] = []
  for (let call = 1; samples.length < PINGS; call++) {
    try {
      samples.push(await callServer(origin))
    } catch (error) {
      // A connection that was kept from before may end just when it is used again.
      if (call > 2 * PINGS) throw error
    }
  }
  return samples.sort((a, b) => a - b)[PINGS >> 1]!
}

async function callServer(origin: string): Promise<number> {
  const startedMs = performance.now()
  const response = await fetch(`${origin}/mesh.signal.v1.SignalService/GetChallenge`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  await response.text()
  return performance.now() - startedMs
}

function enter(meeting: Meeting, rtc: RtcFactory | undefined): Promise<Swarm> {
  return join({
    servers: meeting.origin,
    party: Uint8Array.from(meeting.party),
    identity: 'ephemeral',
    ...(rtc && { rtc }),
  })
}
