import { join, type RtcFactory, type Swarm } from '@mesh/client'
import { generateSigningKey } from '@mesh/core'

export interface MeshJoinTimes {
  /** `join()` resolved: the server has the membership. */
  readonly joinedMs: number
  /** First message received, on whatever path. */
  readonly firstMs: number
  /** First message received that was sent after the direct path had taken over. */
  readonly directMs: number
}

/** Where the resident is: what a joiner has to know. */
export interface MeshMeeting {
  readonly origin: string
  /** Public key of the party, 32 bytes. */
  readonly party: readonly number[]
}

const HELLO = 'hello'
const DIRECT = 'direct'

/**
 * A peer that is there, greets whoever joins, and greets once more when the direct path carries the link. `rtc` is
 * shared by all peers of a process, so that each measures a join and not the making of a certificate.
 */
export async function hostMesh(origin: string, rtc: RtcFactory | undefined): Promise<MeshMeeting> {
  const party = (await generateSigningKey()).publicKey
  const swarm = await enter({ origin, party: [...party] }, rtc)
  swarm.on('join', (peer) => void peer.send(HELLO).catch(ignoreDeparted))
  swarm.on('path', (peer) => {
    if (peer.path === 'direct') void peer.send(DIRECT).catch(ignoreDeparted)
  })
  return { origin, party: [...party] }
}

/** Joins as somebody new, takes the times of the two greetings and leaves. */
export async function timeMeshJoin(meeting: MeshMeeting, rtc: RtcFactory | undefined): Promise<MeshJoinTimes> {
  const startedMs = performance.now()
  const elapsedMs = (): number => performance.now() - startedMs
  const swarm = await enter(meeting, rtc)
  const joinedMs = elapsedMs()
  let firstMs: number | undefined
  const directMs = await new Promise<number>((resolve) => {
    swarm.on('message', (message) => {
      firstMs ??= elapsedMs()
      if (message.text() === DIRECT) resolve(elapsedMs())
    })
  })
  await swarm.close()
  return { joinedMs, firstMs: firstMs ?? directMs, directMs }
}

function enter(meeting: MeshMeeting, rtc: RtcFactory | undefined): Promise<Swarm> {
  return join({
    servers: meeting.origin,
    party: Uint8Array.from(meeting.party),
    identity: 'ephemeral',
    ...(rtc && { rtc }),
  })
}

/** The joiner may be gone before its second greeting is acknowledged; its own measurement would show a lost one. */
function ignoreDeparted(): void {}
