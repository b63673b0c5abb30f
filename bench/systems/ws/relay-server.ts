import type { AddressInfo } from 'node:net'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type Envelope,
  EventSchema,
  SendMessageRequestSchema,
  SubscribeResponseSchema,
} from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type WebSocket, WebSocketServer } from 'ws'
import { serveWorker } from '../../harness/worker.ts'

/**
 * The yardstick: the least a WebSocket relay with a schema can do. A peer connects as `/<hex key>` and is believed; a frame
 * holds a SendMessageRequest; the relay stamps the sender and writes one SubscribeResponse per recipient and frame. No
 * authentication, membership, limits, outcomes, duplicate check, cursors or replay, all of which MESH does for each message.
 */
class WsRelay {
  readonly #server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  readonly #peers = new Map<string, WebSocket>()

  async listen(): Promise<number> {
    this.#server.on('connection', (socket, request) => this.#add(socket, request.url!.slice(1)))
    if (!this.#server.address()) await new Promise((resolve) => this.#server.once('listening', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  #add(socket: WebSocket, key: string): void {
    const from = Buffer.from(key, 'hex')
    this.#peers.set(key, socket)
    socket.on('close', () => this.#peers.delete(key))
    socket.on('message', (data: Buffer) => this.#relay(data, from))
  }

  /** Neighbours with the same recipient share a frame; the usual frame has one recipient and needs no grouping table. */
  #relay(data: Buffer, from: Uint8Array): void {
    let pending: Envelope[] = []
    let recipient: WebSocket | undefined
    for (const envelope of fromBinary(SendMessageRequestSchema, data).envelopes) {
      const next = this.#peers.get(hex(envelope.to))
      if (next !== recipient && recipient) {
        recipient.send(encode(pending))
        pending = []
      }
      recipient = next
      envelope.from = from
      pending.push(envelope)
    }
    recipient?.send(encode(pending))
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

function encode(envelopes: readonly Envelope[]): Uint8Array {
  const events = envelopes.map((value) => create(EventSchema, { event: { case: 'message', value } }))
  return toBinary(SubscribeResponseSchema, create(SubscribeResponseSchema, { events }))
}

const relay = new WsRelay()
serveWorker({ listen: () => relay.listen() })
