import { randomBytes } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import { ExchangeRequestSchema, SubscribeRequestSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { BatchTemplate } from '../batch-template.ts'
import { countRefused, scanDeliveries } from '../delivery-scan.ts'
import {
  type DeliverySink,
  type LineOptions,
  type OpenIdle,
  type OpenLines,
  openMany,
  type RelayLine,
} from '../line.ts'
import { FRAME_HEADER_BYTES, frame, writeFrameHeader } from './frames.ts'
import { openPeer } from './open-peer.ts'
import type { StreamHandlers, Wire, WireStream } from './wire.ts'

const TOPIC_BYTES = 32
/** Members of each party of the idle population. */
const PARTY_SIZE = 8

export type OpenWire = (port: number) => Promise<Wire>

/** Lines whose senders make a SendMessage call per batch, and whose peers all hold a Subscribe stream. */
export function callingLines(openWire: OpenWire): OpenLines {
  return (options, sink) =>
    openLines(openWire, options, async (line, sender, receiver) => {
      subscribe(receiver.wire, deliveriesOf(line, sink))
      subscribe(sender.wire, { message: () => {}, ended: (reason) => sink.failed(new Error(reason)) })
      const template = new BatchTemplate({ to: receiver.key, topic: receiver.topic, count: options.batch }, 1)
      return {
        send(_count, sentAtMs) {
          const request = Buffer.allocUnsafe(template.length)
          template.writeTo(request, 0, sentAtMs)
          sender.wire.call('SendMessage', request).then(
            (response) => checkOutcomes(response, 1, sink),
            (error) => sink.failed(error),
          )
        },
      }
    })
}

/** Lines whose peers all hold one Exchange stream, and send on it. */
export function exchangingLines(openWire: OpenWire): OpenLines {
  return (options, sink) =>
    openLines(openWire, options, async (line, sender, receiver) => {
      startExchange(receiver.wire, deliveriesOf(line, sink))
      const stream = startExchange(sender.wire, {
        message: (message) => checkOutcomes(message, 2, sink),
        ended: (reason) => sink.failed(new Error(reason)),
      })
      const template = new BatchTemplate({ to: receiver.key, topic: receiver.topic, count: options.batch }, 2)
      /** Memory of batches that are written: otherwise the load would spend most of its time collecting it. */
      const free: Buffer[] = []
      return {
        send(_count, sentAtMs) {
          const framed = free.pop() ?? Buffer.allocUnsafe(FRAME_HEADER_BYTES + template.length)
          writeFrameHeader(framed, template.length)
          template.writeTo(framed, FRAME_HEADER_BYTES, sentAtMs)
          stream.write(framed, () => free.push(framed))
        },
      }
    })
}

/** Idle peers in parties of eight, each with its event stream open. */
export function idlePeers(openWire: OpenWire, kind: 'Subscribe' | 'Exchange'): OpenIdle {
  return async (options) => {
    const topics = Array.from({ length: Math.ceil(options.count / PARTY_SIZE) }, () => randomBytes(TOPIC_BYTES))
    await openMany(options.count, 16, async (index) => {
      const wire = await openWire(options.port)
      await openPeer(wire, originOf(options.port), topics[Math.floor(index / PARTY_SIZE)]!)
      const opened = new Promise<void>((resolve, reject) => {
        const handlers = { message: () => resolve(), ended: (reason: string) => reject(new Error(reason)) }
        if (kind === 'Subscribe') subscribe(wire, handlers)
        else startExchange(wire, handlers)
      })
      await opened
    })
  }
}

interface LineEnd {
  readonly wire: Wire
  readonly key: Uint8Array
  readonly topic: Uint8Array
}

/** Every line is a party of two. */
function openLines(
  openWire: OpenWire,
  { port, receiverPort = port, lines }: LineOptions,
  connect: (line: number, sender: LineEnd, receiver: LineEnd) => Promise<RelayLine>,
): Promise<readonly RelayLine[]> {
  const openEnd = async (at: number, topic: Uint8Array): Promise<LineEnd> => {
    const { key, wire } = await openPeer(await openWire(at), originOf(at), topic)
    return { key: key.publicKey, wire, topic }
  }
  return Promise.all(
    Array.from({ length: lines }, async (_, line) => {
      const topic = randomBytes(TOPIC_BYTES)
      return connect(line, await openEnd(port, topic), await openEnd(receiverPort, topic))
    }),
  )
}

function originOf(port: number): string {
  return `http://127.0.0.1:${port}`
}

function subscribe(wire: Wire, handlers: StreamHandlers): void {
  const stream = wire.stream('Subscribe', handlers)
  stream.write(frame(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema))))
  stream.end()
}

function startExchange(wire: Wire, handlers: StreamHandlers): WireStream {
  const stream = wire.stream('Exchange', handlers)
  stream.write(frame(toBinary(ExchangeRequestSchema, create(ExchangeRequestSchema))))
  return stream
}

function deliveriesOf(line: number, sink: DeliverySink): StreamHandlers {
  return {
    message: (message) => scanDeliveries(message, (sentAtMs) => sink.delivered(line, sentAtMs)),
    ended: (reason) => sink.failed(new Error(reason)),
  }
}

function checkOutcomes(message: Uint8Array, field: 1 | 2, sink: DeliverySink): void {
  const refused = countRefused(message, field)
  if (refused > 0) sink.failed(new Error(`the server refused ${refused} messages`))
}
