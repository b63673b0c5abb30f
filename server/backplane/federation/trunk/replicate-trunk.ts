import type { ServerHttp2Session } from 'node:http2'
import { create } from '@bufbuild/protobuf'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import {
  FederationService,
  type Frame,
  type ReplicateRequest,
  ReplicateRequestSchema,
  type ReplicateResponse,
  ReplicateResponseSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { Http2Liveness } from '../../../http2-liveness.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { MessageOutbox } from './message-outbox.ts'
import { pingsBetweenServers, ReplicateConnection, WINDOW_BYTES } from './replicate-connection.ts'
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

/** `Replicate` as a trunk: calls other servers over gRPC, and serves their calls through `serve`. */
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
    const aborted = new AbortController()
    const connection = new ReplicateConnection(url, {
      clock,
      limits,
      ca,
      // A stream that ends with its connection, without an error, is one that Connect waits for. What came is read first.
      onClose: () => void clock.schedule(LAST_READ_MS, () => aborted.abort(lost())),
    })
    const transport = createGrpcTransport({
      baseUrl: url,
      sessionManager: connection,
      // What cannot be inflated cannot be a bomb; and rows are signatures, which do not shrink.
      acceptCompression: [],
      readMaxBytes: limits.federationMaxRequestBytes,
    })
    const stream = new CallStream(this.#options, {
      cut: () => {
        aborted.abort(lost())
        connection.destroy()
      },
      // A client has no status to end with: the Goaway before it says why.
      statusOf: () => undefined,
      rttMs: () => connection.rttMs,
      onProven: () => {},
      // A reset of the stream as an internal error comes under the same code.
      malformed: ErrorReason.UNREACHABLE,
      // Nothing of a connection is left when its one call is over.
      onRead: () => connection.destroy(),
    })
    const requests = stream.messages((frames) => create(ReplicateRequestSchema, { frames: frames as Frame[] }))
    const responses = createClient(FederationService, transport).replicate(requests, { signal: aborted.signal })
    this.#keep(stream)
    void stream.read(responses, events)
    return stream
  }

  onStream(accept: (stream: TrunkStream) => StreamEvents): void {
    this.#accept = accept
  }

  /** Serves a call of another server, from its Hello to its end. */
  readonly serve: ServeReplicate = (requests, call) => {
    if (this.#accept === undefined || this.#closed) throw new MeshError(ErrorReason.DRAINING, 'the server stops')
    let liveness: Http2Liveness | undefined
    const stream = new CallStream(this.#options, {
      cut: call.cut,
      statusOf: (error) => error,
      rttMs: () => liveness?.rttMs,
      onProven: () => {
        call.proven()
        liveness = call.session && this.#widen(call.session)
      },
      malformed: ErrorReason.INVALID_ARGUMENT,
      onRead: () => {},
    })
    this.#keep(stream)
    void stream.read(requests, this.#accept(stream))
    return stream.messages((frames) => create(ReplicateResponseSchema, { frames: frames as Frame[] }))
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

  #keep(stream: CallStream): void {
    this.#open.add(stream)
    void stream.ended.then(() => this.#open.delete(stream))
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

interface CallStreamOptions {
  readonly cut: () => void
  /** What the sequence of written messages ends with. */
  readonly statusOf: (error: MeshError | undefined) => MeshError | undefined
  readonly rttMs: () => number | undefined
  readonly onProven: () => void
  /** What it means when Connect failed without a cause underneath: bytes that are no message, as far as it can tell. */
  readonly malformed: ErrorReason
  /** Nothing more comes. */
  readonly onRead: () => void
}

/** One call, seen from either side: messages written go to its one direction, those of the other come to the events. */
class CallStream implements TrunkStream {
  /** Resolves when both directions are over, or were cut. */
  readonly ended: Promise<void>
  readonly #call: CallStreamOptions
  readonly #trunk: ReplicateTrunkOptions
  readonly #outbox: MessageOutbox
  #resolveEnded: () => void = () => {}
  #events: StreamEvents | undefined
  #cut: Timer | undefined
  #closed = false
  #failure: MeshError | undefined
  #directions = 2

  constructor(trunk: ReplicateTrunkOptions, call: CallStreamOptions) {
    this.#trunk = trunk
    this.#call = call
    this.#outbox = new MessageOutbox({ limits: trunk.limits, onDrain: () => this.#events?.onDrain() })
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  get rttMs(): number | undefined {
    return this.#call.rttMs()
  }

  write(frames: readonly Frame[]): boolean {
    if (this.#closed) return false
    try {
      return this.#outbox.write(frames)
    } catch (overflow) {
      this.#failure = MeshError.from(overflow)
      this.#call.cut()
      return false
    }
  }

  close(error?: MeshError): void {
    if (this.#closed) return
    this.#closed = true
    this.#outbox.end(this.#call.statusOf(error))
    const { clock, limits } = this.#trunk
    // The other side may not read, or not end what it began.
    const cut = (): void => {
      this.#call.cut()
      this.#resolveEnded()
    }
    this.#cut = clock.schedule(limits.streamEndMs, cut, { keepAlive: true })
  }

  proven(): void {
    this.#call.onProven()
  }

  /** What was written, as messages of the call. */
  async *messages<T>(messageOf: (frames: readonly Frame[]) => T): AsyncGenerator<T> {
    try {
      for await (const frames of this.#outbox) yield messageOf(frames)
    } finally {
      this.#directionEnded()
    }
  }

  /** Hands over what comes until nothing more does. */
  async read(messages: AsyncIterable<{ readonly frames: readonly Frame[] }>, events: StreamEvents): Promise<void> {
    this.#events = events
    let error: MeshError | undefined
    try {
      for await (const { frames } of messages) events.onFrames(frames)
    } catch (thrown) {
      error = meshErrorOf(thrown, this.#call.malformed)
    }
    this.#events = undefined
    const endedHere = this.#closed
    this.close(error)
    this.#call.onRead()
    this.#directionEnded()
    events.onClose(endedHere ? undefined : (this.#failure ?? error))
  }

  #directionEnded(): void {
    this.#directions -= 1
    if (this.#directions > 0) return
    this.#cut?.cancel()
    this.#resolveEnded()
  }
}

/** Time to read what came before a connection was closed. */
const LAST_READ_MS = 100

function lost(): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, 'the connection was closed')
}

/** What a failed call means. Without a typed detail it is a matter of the line, except for codes that say more. */
function meshErrorOf(thrown: unknown, onMalformed: ErrorReason): MeshError {
  if (thrown instanceof MeshError) return thrown
  const error = ConnectError.from(thrown)
  const [detail] = error.findDetails(ErrorDetailSchema)
  if (detail !== undefined) return MeshError.fromDetail(detail, error.rawMessage)
  const malformed = error.code === Code.Internal && error.cause === undefined
  const reason = malformed ? onMalformed : (REASONS.get(error.code) ?? ErrorReason.UNREACHABLE)
  return new MeshError(reason, error.rawMessage, { cause: thrown })
}

const REASONS: ReadonlyMap<Code, ErrorReason> = new Map([
  [Code.InvalidArgument, ErrorReason.INVALID_ARGUMENT],
  [Code.ResourceExhausted, ErrorReason.LIMIT_EXCEEDED],
  [Code.Unimplemented, ErrorReason.NOT_SUPPORTED],
])
