import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Random, seededRandom, VirtualClock } from '@mesh/core'
import { ChannelKind, type PacketBody, PacketBodySchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { expect, test } from 'vitest'
import { Link } from '../../../client/link/index.ts'

const RUNS = 300

/** Packets of an ordinary conversation, encoded. */
function conversation(): Uint8Array[] {
  const packets: Uint8Array[] = []
  const deferred: (() => void)[] = []
  const keep = (body: PacketBody) => packets.push(toBinary(PacketBodySchema, body)) > 0
  const link = new Link({
    clock: new VirtualClock(),
    role: 'lower',
    defer: (run) => void deferred.push(run),
    effects: {
      transmit: (_path, body) => keep(body),
      transmitDatagram: (_path, body) => keep(body),
      control: () => undefined,
      channel: () => undefined,
      pathDead: () => undefined,
      closed: () => undefined,
    },
  })
  link.setPath('relay', { usable: true })
  const topic = new Uint8Array(32).fill(3)
  for (const kind of [ChannelKind.MESSAGES, ChannelKind.REQUEST]) {
    const channel = link.openChannel({ topic, name: 'fuzzed', kind })
    for (const size of kind === ChannelKind.REQUEST ? [20] : [5, 0, 3_000]) {
      channel.sendMessage(new Uint8Array(size)).catch(() => undefined)
    }
    link.ping('relay').catch(() => undefined)
    for (const run of deferred.splice(0)) run()
  }
  const datagrams = link.openChannel({ topic, name: 'fuzzed', kind: ChannelKind.DATAGRAMS })
  for (const run of deferred.splice(0)) run()
  datagrams.sendDatagram(new Uint8Array(100))
  link.close()
  return packets
}

/** The packet with some bytes changed, if it still parses. */
function mutated(packet: Uint8Array, random: Random): PacketBody | undefined {
  const bytes = packet.slice()
  for (let i = Math.floor(random.uniform() * 4); i >= 0; i--) {
    bytes[Math.floor(random.uniform() ** 3 * bytes.length)] = random.bytes(1)[0] as number
  }
  try {
    return fromBinary(PacketBodySchema, bytes)
  } catch {
    return undefined
  }
}

test(`Link stays whole or closes with FRAME_INVALID when packets are altered (${RUNS} seeds)`, async () => {
  const packets = conversation()
  const endings = new Map<string, number>()
  let taken = 0
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = seededRandom(seed)
    const clock = new VirtualClock(undefined, { settle: async () => undefined })
    let ending = 'open'
    const link = new Link({
      clock,
      role: 'higher',
      effects: {
        transmit: () => true,
        transmitDatagram: () => true,
        control: () => undefined,
        channel: (channel) => channel.onMessage(() => undefined),
        pathDead: () => undefined,
        closed: (error, { by }) => {
          ending = by === 'remote' ? 'Goodbye' : error.reasonName
        },
      },
    })
    link.setPath('relay', { usable: true })
    for (let i = 0; i < 40 && link.state === 'open'; i++) {
      const packet = packets[Math.floor(random.uniform() * packets.length)] as Uint8Array
      const body = mutated(packet, random)
      if (body === undefined) continue
      taken += 1
      link.receive('relay', body)
      await clock.advance(10)
    }
    expect(['open', 'FRAME_INVALID', 'Goodbye'], `seed ${seed}`).toContain(ending)
    endings.set(ending, (endings.get(ending) ?? 0) + 1)
    link.close()
  }
  // The alterations must have reached the link, and hurt.
  expect(taken).toBeGreaterThan(RUNS)
  expect(endings.get('FRAME_INVALID')).toBeGreaterThan(RUNS / 4)
}, 60_000)
