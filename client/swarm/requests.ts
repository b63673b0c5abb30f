import { ErrorReason, MeshError } from '@mesh/core'
import { abortError } from '../delay.ts'
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

/** Asks on a REQUEST channel of its own. Rejects with what the other side answers instead, or why the caller gave up. */
export async function askPeer(
  peer: Peer,
  channel: LinkChannel,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<Message> {
  try {
    const sent = channel.sendMessage(bytes, { signal })
    const answer = await Promise.race([sent.then(() => channel.receiveMessage({ signal })), failure(channel)])
    if (answer !== undefined) return receivedMessage(peer, answer)
    throw new MeshError(ErrorReason.REQUEST_FAILED, 'the peer ended the request without an answer')
  } catch (error) {
    channel.reset(MeshError.from(error))
    throw signal.aborted ? abortError(signal) : error
  }
}

/** Rejects when the other side resets the channel. */
async function failure(channel: LinkChannel): Promise<never> {
  const error = await channel.closed
  if (error) throw error
  return new Promise<never>(() => {})
}
