import { createSocket } from 'node:dgram'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RtcConnection } from '../../connection/rtc.ts'
import { weriftFactory } from './factory.ts'
import { candidateAddress, connect, expectAlive } from './loopback-pair.fixture.ts'
import { startTurnServer, type TurnServerFixture } from './turn-server.fixture.ts'

let server: TurnServerFixture
const open: RtcConnection[] = []

beforeEach(async () => {
  server = await startTurnServer()
})

afterEach(() => {
  for (const connection of open.splice(0)) connection.close()
  server.close()
})

async function relayed(credential = server.credential): Promise<RtcConnection> {
  const connection = await weriftFactory().create({
    iceServers: [{ urls: server.url, username: server.username, credential }],
    iceTransportPolicy: 'relay',
  })
  open.push(connection)
  return connection
}

describe('Under the relay policy', () => {
  test('a pair connects through TURN, with relayed candidates only, and frees its allocations', async () => {
    const [left, right] = [await relayed(), await relayed()]
    const kinds: string[] = []
    for (const connection of [left, right]) {
      connection.addEventListener('icecandidate', ({ candidate }) => {
        if (candidate) kinds.push(candidate.candidate.split(' ')[7]!)
      })
    }
    const pair = await connect(left, right)
    await expectAlive(pair)
    expect(kinds).toEqual(['relay', 'relay'])
    expect(server.allocations()).toBe(2)
    left.close()
    right.close()
    await expect.poll(() => server.allocations()).toBe(0)
  })

  test('wrong credentials are reported as an icecandidateerror with the code of the server', async () => {
    const connection = await relayed('wrong')
    connection.createDataChannel('mesh', { negotiated: true, id: 0, ordered: true })
    const code = new Promise<number>((resolve) =>
      connection.addEventListener('icecandidateerror', ({ errorCode }) => resolve(errorCode)),
    )
    await connection.setLocalDescription((await connection.createOffer()) as { type: 'offer'; sdp: string })
    expect(await code).toBe(401)
  })

  test('what does not come from the TURN server is not taken for what it relays', async () => {
    const [left, right] = [await relayed(), await relayed()]
    let mapped: { host: string; port: number } | undefined
    left.addEventListener('icecandidate', ({ candidate }) => {
      const related = /raddr (\S+) rport ([0-9]+)/.exec(candidate?.candidate ?? '')
      if (related) mapped = { host: related[1]!, port: Number(related[2]) }
      else if (candidate) mapped ??= candidateAddress(candidate.candidate)
    })
    const pair = await connect(left, right)
    const outsider = createSocket('udp4')
    // Channel data for the first channel, as the server would send it: an alert for whoever believes it.
    const forged = Buffer.from('4000000f' + '15fefd0000000000000001000201' + '00', 'hex')
    for (let copy = 0; copy < 5; copy += 1) {
      await new Promise((resolve) => outsider.send(forged, mapped!.port, '127.0.0.1', resolve))
    }
    outsider.close()
    await expectAlive(pair)
    expect(left.connectionState).toBe('connected')
  })
})
