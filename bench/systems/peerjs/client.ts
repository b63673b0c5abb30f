import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { type OpenIdle, type OpenLines, openMany, PAYLOAD_BYTES, type RelayLine } from '../line.ts'

/** peerjs-server drops clients that are silent for 90 s; its own client beats every 5 s, this is as lazy as allowed. */
const HEARTBEAT_MS = 60_000

/** The protocol is JSON, so the payload is base64: the same bytes of content as everywhere else. */
const PADDING = randomBytes(PAYLOAD_BYTES).toString('base64')

interface OfferMessage {
  readonly payload: { readonly sentAtMs: number }
}

export const openPeerjsLines: OpenLines = async (options, sink) =>
  Promise.all(
    Array.from({ length: options.lines }, async (_, line): Promise<RelayLine> => {
      const receiverId = randomUUID()
      const receiver = await connect(options.port, receiverId)
      const sender = await connect(options.port, randomUUID())
      receiver.on('message', (data) => {
        const message = JSON.parse(String(data)) as OfferMessage
        sink.delivered(line, message.payload.sentAtMs)
      })
      for (const socket of [receiver, sender]) socket.on('close', () => sink.failed(new Error('socket closed')))
      return {
        // There is no batch in this protocol: a batch is as many frames, written in one turn.
        send(count, sentAtMs) {
          const frame = JSON.stringify({ type: 'CANDIDATE', dst: receiverId, payload: { sentAtMs, data: PADDING } })
          for (let sent = 0; sent < count; sent++) sender.send(frame)
        },
      }
    }),
  )

export const openPeerjsIdle: OpenIdle = (options) =>
  openMany(options.count, 32, async () => {
    await connect(options.port, randomUUID())
  })

/** Resolves after the server's OPEN, so the id is registered. The client beats as long as the process lives. */
async function connect(port: number, id: string): Promise<WebSocket> {
  const url = `ws://127.0.0.1:${port}/peerjs?key=peerjs&id=${id}&token=bench`
  const socket = new WebSocket(url, { perMessageDeflate: false })
  await once(socket, 'message')
  setInterval(() => socket.send('{"type":"HEARTBEAT"}'), HEARTBEAT_MS).unref()
  return socket
}
