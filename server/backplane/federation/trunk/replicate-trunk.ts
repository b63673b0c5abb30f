import type { ServerHttp2Session } from 'node:http2'
import { create } from '@bufbuild/protobuf'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import {
  type Frame,
  type ReplicateRequest,
  type ReplicateResponse,
  ReplicateResponseSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { Http2Liveness } from '../../../http2-liveness.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { type CallPort, CallStream } from './call-stream.ts'
import { MessageOutbox } from './message-outbox.ts'
import { ReplicateClient } from './replicate-client.ts'
import { pingsBetweenServers, WINDOW_BYTES } from './replicate-connection.ts'
import type { ServerAddress, StreamEvents, Trunk, TrunkStream } from './trunk.ts'

export interface ReplicateTrunkOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  /** PEM certificates that sign those of other servers; default: the authorities that Node trusts. */
  readonly ca?: string | Buffer | undefined
}

/** What the HTTP side knows of a Replicate call that came in. */
export interface IncomingCall {
  /** The caller proved to be a server of the federation: the bounds for strangers no longer hold. */
  readonly proven: () => void
  /** Cuts the call's transport. */
  readonly cut: () => void
  /** The connection it came by; undefined when that is not HTTP/2. */
  readonly session: ServerHttp2Session | undefined
}

/** Serves one Replicate call: messages in, messages out. Throws MeshError, which becomes the status of the call. */
export type ServeReplicate = (
  requests: AsyncIterable<ReplicateRequest>,
  call: IncomingCall,
) => AsyncIterable<ReplicateResponse>

/**
 * Takes one Replicate call from a lane that carries messages itself: `writer` gets what is to be sent, and what comes is told to
 * the stream. @throws MeshError which becomes the status of the call
 */
export type AcceptReplicate = (call: IncomingCall, writer: CallWriter) => CallStream

/** How such a lane sends. */
export type CallWriter = Pick<CallPort, 'write' | 'end'>

/** `Replicate` as a trunk: calls other servers over gRPC, and takes their calls, in whichever lane they come (`accept`, `serve`). */
export class ReplicateTrunk implements Trunk {
  readonly #options: ReplicateTrunkOptions
  readonly #open = new Set<CallStream>()
  #accept: ((stream: TrunkStream) => StreamEvents) | undefined
  #closed = false

  constructor(options: ReplicateTrunkOptions) {
    this.#options = options
  }

  dial({ url }: ServerAddress, _channel: unknown, events: StreamEvents): TrunkStream {
    const { limits, clock, ca } = this.#options
    // A reset of the stream as an internal error comes under the same code.
    const stream = this.#keep(ErrorReason.UNREACHABLE)
    const client = new ReplicateClient(url, stream, { limits, clock, ca })
    stream.start(client)
    stream.listen(events)
    void client.open()
    return stream
  }

  onStream(accept: (stream: TrunkStream) => StreamEvents): void {
    this.#accept = accept
  }

  /** Takes a call of another server in the fast lane. */
  readonly accept: AcceptReplicate = (call, writer) => {
    if (this.#accept === undefined || this.#closed) throw new MeshError(ErrorReason.DRAINING, 'the server stops')
    const stream = this.#keep(ErrorReason.INVALID_ARGUMENT)
    let liveness: Http2Liveness | undefined
    stream.start({
      write: (frames) => writer.write(frames),
      end: (error) => writer.end(error),
      cut: call.cut,
      proven: () => {
        call.proven()
        liveness = call.session && this.#widen(call.session)
      },
      received: () => {},
      get rttMs() {
        return liveness?.rttMs
      },
    })
    stream.listen(this.#accept(stream))
    return stream
  }

  /** Serves a call of another server in Connect's lane, from its Hello to its end. */
  readonly serve: ServeReplicate = (requests, call) => {
    const { limits } = this.#options
    const outbox = new MessageOutbox({ limits, onDrain: () => stream.drained() })
    const stream = this.accept(call, outbox)
    void readAll(requests, stream)
    return responses(outbox, () => stream.sent())
  }

  /** Ends every stream, lets what was written go within `stream_end_ms`, and cuts what is left. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const ended = [...this.#open].map((stream) => {
      stream.close()
      return stream.ended
    })
    await Promise.all(ended)
  }

  #keep(malformed: ErrorReason): CallStream {
    const { limits, clock } = this.#options
    const stream = new CallStream({ limits, clock, malformed })
    this.#open.add(stream)
    void stream.ended.then(() => this.#open.delete(stream))
    return stream
  }

  /** What a stranger does not get: room for as much as the line holds, and pings of its own. */
  #widen(session: ServerHttp2Session): Http2Liveness | undefined {
    if (session.destroyed) return undefined
    const { clock, limits } = this.#options
    session.settings({ initialWindowSize: WINDOW_BYTES })
    session.setLocalWindowSize(WINDOW_BYTES)
    return new Http2Liveness(session, { clock, ...pingsBetweenServers(limits) })
  }
}

async function readAll(requests: AsyncIterable<ReplicateRequest>, stream: CallStream): Promise<void> {
  try {
    for await (const { frames } of requests) if (!stream.receive(frames)) return
    stream.received()
  } catch (thrown) {
    stream.received(thrown)
  }
}

/** What was written, as messages of the call. */
async function* responses(outbox: MessageOutbox, onEnd: () => void): AsyncGenerator<ReplicateResponse> {
  try {
    for await (const frames of outbox) yield create(ReplicateResponseSchema, { frames: frames as Frame[] })
  } finally {
    onEnd()
  }
}
