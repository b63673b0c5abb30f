import { ErrorReason, MeshError } from '@mesh/core'
import type { LinkChannel } from '../link/index.ts'
import { encodeMessage, type Message, type MessageData, receivedMessage } from './message.ts'
import type { Peer } from './peer.ts'

/**
 * Answers one request. A MeshError it throws reaches the asker as it is; of anything else the asker learns only that the
 * request failed (REQUEST_FAILED), and the swarm's 'error' event has the rest.
 */
export type RequestHandler = (request: Message) => MessageData | Promise<MessageData>

/** Serves one REQUEST channel the other peer opened. Never rejects; `onError` gets what the handler threw. */
export async function answerRequest(
  peer: Peer,
  channel: LinkChannel,
  handler: RequestHandler | undefined,
  onError: (error: MeshError) => void,
): Promise<void> {
  try {
    const bytes = await channel.receiveMessage()
    if (bytes === undefined) return
    if (!handler) throw new MeshError(ErrorReason.REQUEST_FAILED, 'the peer answers no requests')
    const answer = await handler(receivedMessage(peer, bytes))
    await channel.sendMessage(encodeMessage(answer))
  } catch (cause) {
    if (channel.state === 'closed') return
    if (cause instanceof MeshError) return channel.reset(cause)
    channel.reset(new MeshError(ErrorReason.REQUEST_FAILED, 'the request failed at the peer'))
    onError(MeshError.from(cause))
  }
}
