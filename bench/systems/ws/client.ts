import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { BatchTemplate } from '../batch-template.ts'
import { scanDeliveries } from '../delivery-scan.ts'
import { type OpenIdle, type OpenLines, openMany, type RelayLine } from '../line.ts'

const KEY_BYTES = 32

export const openWsLines: OpenLines = async (options, sink) =>
  Promise.all(
    Array.from({ length: options.lines }, async (_, line): Promise<RelayLine> => {
      const to = randomBytes(KEY_BYTES)
      const receiver = await connect(options.port, to)
      const sender = await connect(options.port, randomBytes(KEY_BYTES))
      receiver.on('message', (data: Buffer) => scanDeliveries(data, (sentAtMs) => sink.delivered(line, sentAtMs)))
      for (const socket of [receiver, sender]) socket.on('close', () => sink.failed(new Error('socket closed')))
      const template = new BatchTemplate({ to, topic: randomBytes(KEY_BYTES), count: options.batch }, 1)
      return {
        send(_count, sentAtMs) {
          const frame = Buffer.allocUnsafe(template.length)
          template.writeTo(frame, 0, sentAtMs)
          sender.send(frame)
        },
      }
    }),
  )

export const openWsIdle: OpenIdle = (options) =>
  openMany(options.count, 32, async () => {
    await connect(options.port, randomBytes(KEY_BYTES))
  })

async function connect(port: number, key: Buffer): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/${key.toString('hex')}`, { perMessageDeflate: false })
  await once(socket, 'open')
  return socket
}
