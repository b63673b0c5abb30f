import { seededRandom } from '@mesh/core'
import { afterEach, expect, test, vi } from 'vitest'
import type { RtcConnection, RtcDataChannel } from '../../connection/rtc.ts'
import { connect, createHardened, expectAlive, opened } from './loopback-pair.fixture.ts'
import { UdpSocket } from './udp-socket.ts'

const open: RtcConnection[] = []
afterEach(() => {
  vi.restoreAllMocks()
  for (const connection of open.splice(0)) connection.close()
})

/** Loses, repeats and reorders datagrams of the sockets of this process. */
function disturb(seed: number, shares: { lost: number; repeated: number; late: number }): void {
  const random = seededRandom(seed)
  const sendTo = UdpSocket.prototype.sendTo
  let held: (() => void) | undefined
  vi.spyOn(UdpSocket.prototype, 'sendTo').mockImplementation(function (this: UdpSocket, data, port, host) {
    const fate = random.uniform()
    const deliver = () => sendTo.call(this, data, port, host)
    if (fate < shares.lost) return
    if (fate < shares.lost + shares.late) {
      held?.()
      held = deliver
      return
    }
    deliver()
    if (fate > 1 - shares.repeated) deliver()
    held?.()
    held = undefined
  })
}

test.each([1, 2])(
  'a pair connects and carries every message in order when packets are lost, repeated and late (%i)',
  {
    timeout: 30_000,
  },
  async (seed) => {
    disturb(seed, { lost: 0.05, repeated: 0.05, late: 0.1 })
    const left = await createHardened()
    const right = await createHardened()
    open.push(left, right)
    const pair = await connect(left, right)
    const numbers: number[] = []
    const done = new Promise<void>((resolve) =>
      pair.rightChannel.addEventListener('message', ({ data }) => {
        numbers.push(new DataView(data as ArrayBuffer).getUint32(0))
        if (numbers.length === 40) resolve()
      }),
    )
    for (let number = 0; number < 40; number += 1) {
      const bytes = new Uint8Array(3000)
      new DataView(bytes.buffer).setUint32(0, number)
      pair.leftChannel.send(bytes)
    }
    await done
    expect(numbers).toEqual(Array.from({ length: 40 }, (_, index) => index))
    await expectAlive(pair, 10_000)
  },
)

test('a pair carries 4 MiB each way in seconds while a packet in ten is lost', { timeout: 20_000 }, async () => {
  const left = await createHardened()
  const right = await createHardened()
  open.push(left, right)
  const { leftChannel, rightChannel } = await connect(left, right)
  disturb(1, { lost: 0.1, repeated: 0, late: 0 })
  const arrive = (channel: RtcDataChannel) =>
    new Promise<void>((resolve) => {
      let bytes = 0
      channel.addEventListener('message', ({ data }) => {
        bytes += (data as ArrayBuffer).byteLength
        if (bytes === 4 * 1_048_576) resolve()
      })
    })
  const arrivals = [arrive(leftChannel), arrive(rightChannel)]
  for (let i = 0; i < 64; i += 1) {
    leftChannel.send(new Uint8Array(65_536))
    rightChannel.send(new Uint8Array(65_536))
  }
  await Promise.all(arrivals)
})

test('a message without order does not wait for one that was lost before it', { timeout: 30_000 }, async () => {
  const left = await createHardened()
  const right = await createHardened()
  open.push(left, right)
  const datagrams = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 } as const
  const beside = [left.createDataChannel('beside', datagrams), right.createDataChannel('beside', datagrams)] as const
  const pair = await connect(left, right)
  await Promise.all(beside.map(opened))
  const arrived: string[] = []
  const both = new Promise<void>((resolve) => {
    for (const channel of [pair.rightChannel, beside[1]]) {
      channel.addEventListener('message', ({ data }) => {
        if (arrived.push(Buffer.from(data as ArrayBuffer).toString()) === 2) resolve()
      })
    }
  })
  disturb(1, { lost: 1, repeated: 0, late: 0 })
  pair.leftChannel.send(Buffer.from('in order'))
  await new Promise((resolve) => setImmediate(resolve))
  vi.restoreAllMocks()
  beside[0].send(Buffer.from('beside'))
  await both
  expect(arrived).toEqual(['beside', 'in order'])
})
