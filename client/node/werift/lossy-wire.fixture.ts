import type { Clock } from '@mesh/core'
import { SctpGuard } from './sctp-guard.ts'
import type { OutboundMessage, OutboundStream } from './sctp-outbound.ts'
import { DATA, HEADER_BYTES as FIRST_CHUNK, SACK } from './sctp-packet.ts'
import { ASSOCIATION_ESTABLISHED, type SctpAssociation } from './werift-association.ts'
import { type DtlsTransport, loadWerift } from './werift-internals.ts'

/** A wire between two associations that are set up already. */
export interface WireOptions {
  readonly clock: Clock
  /** Asked for each packet as well: one way. */
  readonly delayMs: () => number
  /** Asked for each packet, in each direction. */
  readonly isLost: () => boolean
}

export interface WireEnd {
  /** Sends `bytes` in messages of 16 KiB and one of what is left. */
  send(bytes: number): void
  /** When a message came, and how much had come by then. */
  readonly arrivals: { readonly atMs: number; readonly bytes: number }[]
  /** Packets with data put on the wire. */
  dataPackets: number
  /** When each acknowledgement left. */
  readonly acknowledgedAtMs: number[]
}

const MESSAGE_BYTES = 16_384
const PORT = 5000
const TAG = 7
/** What werift sets for 1,191 bytes of packet. */
const MTU_BYTES = 1191
const CHUNK_BYTES = 1160

export async function lossyWire(options: WireOptions): Promise<readonly [WireEnd, WireEnd]> {
  const { crc32c } = await loadWerift()
  const end = () => {
    const association = establishedAssociation()
    const transport: { dataReceiver?: (packet: Buffer) => void } = {}
    const stream = new Source()
    const arrivals: { atMs: number; bytes: number }[] = []
    const wire = { to: (_packet: Buffer): void => undefined }
    const self: WireEnd = {
      arrivals,
      dataPackets: 0,
      acknowledgedAtMs: [],
      send: (bytes) => {
        stream.leftBytes += bytes
        guard.wake()
      },
    }
    const guard = new SctpGuard({
      association,
      transport: transport as DtlsTransport,
      streams: new Map([[stream.id, stream]]),
      clock: options.clock,
      crc32c,
      send: (packet) => {
        if (packet[FIRST_CHUNK] === DATA) self.dataPackets += 1
        if (packet[FIRST_CHUNK] === SACK) self.acknowledgedAtMs.push(options.clock.monotonicMs())
        wire.to(Buffer.from(packet))
      },
      onMessage: ({ data }) => {
        arrivals.push({ atMs: options.clock.monotonicMs(), bytes: (arrivals.at(-1)?.bytes ?? 0) + data.length })
      },
      onProgress: () => undefined,
      log: (message, detail) => {
        throw new Error(message, { cause: detail })
      },
    })
    return { self, association, transport, wire }
  }
  const [left, right] = [end(), end()]
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    to.association.lastReceivedTsn = from.association.localTsn - 1
    from.wire.to = (packet) => {
      if (options.isLost()) return
      options.clock.schedule(options.delayMs(), () => to.transport.dataReceiver?.(packet))
    }
  }
  return [left.self, right.self]
}

function establishedAssociation(): SctpAssociation {
  return {
    isStopped: false,
    associationState: ASSOCIATION_ESTABLISHED,
    localPort: PORT,
    remotePort: PORT,
    localVerificationTag: TAG,
    remoteVerificationTag: TAG,
    maxPayloadSize: CHUNK_BYTES,
    mtu: MTU_BYTES,
    outboundStreamSeq: {},
  } as Partial<SctpAssociation> as SctpAssociation
}

class Source implements OutboundStream {
  readonly id = 0
  readonly ordered = true
  leftBytes = 0

  takeMessage(): OutboundMessage | undefined {
    if (this.leftBytes === 0) return undefined
    const data = Buffer.alloc(Math.min(this.leftBytes, MESSAGE_BYTES))
    this.leftBytes -= data.length
    return { protocol: 53, data }
  }

  handed(): void {
    // Nobody waits for room.
  }
}
