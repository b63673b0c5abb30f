import { ErrorReason, MeshError } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { LinkChannel } from '../link/index.ts'
import { Channel } from './channel.ts'
import type { Emitter } from './emitter.ts'
import type { SwarmEvents } from './events.ts'
import { type Message, receivedMessage } from './message.ts'
import { MessageStream } from './message-stream.ts'
import type { Peer } from './peer.ts'
import { answerRequest, type RequestHandler } from './requests.ts'

/** What peers send to a swarm, and who takes it: the unnamed channel carries messages, the others are the application's. */
export class Inbox {
  readonly #events: Emitter<SwarmEvents>
  readonly #stream = new MessageStream()
  #requestHandler: RequestHandler | undefined

  constructor(events: Emitter<SwarmEvents>) {
    this.#events = events
  }

  /** See Swarm.messages. */
  messages(signal: AbortSignal | undefined): AsyncIterable<Message> {
    return this.#stream.read(signal)
  }

  /** See Swarm.onRequest. */
  answer(handler: RequestHandler): () => void {
    this.#requestHandler = handler
    return () => {
      if (this.#requestHandler === handler) this.#requestHandler = undefined
    }
  }

  /** Takes a channel the peer opened, or resets it. */
  take(peer: Peer, channel: LinkChannel): void {
    if (channel.kind === ChannelKind.REQUEST) {
      void answerRequest(peer, channel, this.#requestHandler, (error) => this.#events.emit('error', error))
    } else if (channel.kind === ChannelKind.MESSAGES && channel.name === '') {
      channel.onMessage((bytes) => {
        const message = receivedMessage(peer, bytes)
        this.#events.emit('message', message)
        return this.#stream.push(message)
      })
    } else if (this.#events.has('channel')) {
      this.#events.emit('channel', new Channel(peer, channel))
    } else {
      channel.reset(new MeshError(ErrorReason.CHANNEL_CLOSED, `nothing here takes the channel "${channel.name}"`))
    }
  }

  /** Ends the iterables. */
  end(): void {
    this.#stream.end()
  }
}
