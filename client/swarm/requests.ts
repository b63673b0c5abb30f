import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkChannel } from '../link/index.ts'
import { encodeMessage, type Message, type MessageData, receivedMessage } from './message.ts'
import type { Peer } from './peer.ts'

/** Answers one request. What it throws reaches the asker as REQUEST_FAILED with the error's message. */
export type RequestHandler = (request: Message) => MessageData | Promise<MessageData>

/** Serves one REQUEST channel the other peer opened. Never rejects. */
export async function answerRequest(
  peer: Peer,
  channel: LinkChannel,
  handler: RequestHandler | undefined,
): Promise<void> {
  try {
    const bytes = await channel.receiveMessage()
    if (bytes === undefined) return
    if (!handler) throw new MeshError(ErrorReason.REQUEST_FAILED, 'the peer answers no requests')
    const answer = await handler(receivedMessage(peer, bytes))
    await channel.sendMessage(encodeMessage(answer))
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'the request failed'
    channel.reset(new MeshError(ErrorReason.REQUEST_FAILED, message.slice(0, 256), { cause }))
  }
}
