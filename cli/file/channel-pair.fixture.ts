import type { Channel, Peer } from '@mesh/client'
import { ErrorReason, MeshError } from '@mesh/core'

/** Two ends of one channel in memory, with the behaviour of the SDK's: messages, half-close, and abort of both ends. */
export function channelPair(name: string): [Channel, Channel] {
  const over = Promise.withResolvers<MeshError | undefined>()
  const controllers: ReadableStreamDefaultController<Uint8Array>[] = []
  const writers: WritableStreamDefaultController[] = []
  const ended = [false, false]

  const abort = (reason?: MeshError): void => {
    const error = reason ?? new MeshError(ErrorReason.CHANNEL_CLOSED, 'the channel was aborted')
    for (const controller of [...controllers, ...writers]) controller.error(error)
    over.resolve(error)
  }
  const end = (side: number): void => {
    if (ended[side]) return
    ended[side] = true
    controllers[1 - side]?.close()
    if (ended[0] && ended[1]) over.resolve(undefined)
  }
  const makeEnd = (side: number): Channel => {
    const readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controllers[side] = controller
      },
    })
    const writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        writers[side] = controller
      },
      write: (chunk) => controllers[1 - side]?.enqueue(chunk.slice()),
    })
    const peer = { id: `peer-${side}` } as Peer
    const close = async (): Promise<void> => end(side)
    return { name, peer, readable, writable, closed: over.promise, close, abort } as unknown as Channel
  }
  return [makeEnd(0), makeEnd(1)]
}
