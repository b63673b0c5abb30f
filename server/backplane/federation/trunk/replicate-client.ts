import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
// Connect publishes these for protocol implementations, outside of its version promise; its version is pinned.
import { findTrailerError, validateResponse } from '@connectrpc/connect/protocol-grpc'
import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { limitError, type ServerLimits } from '../../../limits/server-limits.ts'
import { MessageSplitter } from '../../../wire/message-splitter.ts'
import { type CallPort, type CallStream, lost } from './call-stream.ts'
import { decodeMessage } from './message-decoder.ts'
import { encodeMessage } from './message-encoder.ts'
import { PieceWriter } from './piece-writer.ts'
import { ReplicateConnection } from './replicate-connection.ts'

export interface ReplicateClientOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly ca: string | Buffer | undefined
}

const PATH = '/mesh.federation.v1.FederationService/Replicate'
/** No grpc-accept-encoding: what cannot be inflated cannot be a bomb; and rows are signatures, which do not shrink. */
const HEADERS = { 'content-type': 'application/grpc+proto', te: 'trailers' }

/** Time to read what came before a connection was closed. */
const LAST_READ_MS = 100

/**
 * A call of another server: gRPC over an HTTP/2 connection of its own. By hand, as a generic client spends more on each message
 * than all the rest of a server does.
 */
export class ReplicateClient implements CallPort {
  readonly #options: ReplicateClientOptions
  readonly #call: CallStream
  readonly #connection: ReplicateConnection
  readonly #writer: PieceWriter
  readonly #splitter = new MessageSplitter()
  #trailers: IncomingHttpHeaders | undefined

  constructor(url: string, call: CallStream, options: ReplicateClientOptions) {
    this.#options = options
    this.#call = call
    const { limits, clock, ca } = options
    this.#writer = new PieceWriter({ limits, onDrain: () => call.drained() })
    const onClose = (): void => void clock.schedule(LAST_READ_MS, () => this.#over(lost()))
    this.#connection = new ReplicateConnection(url, { clock, limits, ca, onClose })
  }

  /** Connects and calls. What becomes of it is told to the stream, never before this returned. */
  async open(): Promise<void> {
    try {
      this.#listen(await this.#connection.call(PATH, HEADERS))
    } catch (error) {
      this.#over(error)
    }
  }

  get rttMs(): number | undefined {
    return this.#connection.rttMs
  }

  write(frames: readonly Frame[]): boolean {
    return this.#writer.write(encodeMessage(frames))
  }

  /** A client has no status to end with: the Goaway before it says why. */
  end(): void {
    this.#writer.end(undefined)
  }

  cut(): void {
    this.#connection.destroy()
    this.#over(lost())
  }

  proven(): void {}

  /** Nothing of a connection is left when its one call is over. */
  received(): void {
    this.#connection.destroy()
    this.#call.sent()
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.on('error', (error) => this.#over(error))
    stream.on('response', (headers) => this.#guarded(() => this.#onHeaders(headers)))
    stream.on('data', (chunk: Uint8Array) => this.#guarded(() => this.#onData(chunk)))
    stream.on('trailers', (trailers) => {
      this.#trailers = trailers
    })
    stream.on('end', () => this.#guarded(() => this.#onEnd()))
    stream.on('close', () => this.#guarded(() => this.#onEnd()))
    this.#writer.open({
      write: (piece, done) => void stream.write(piece, done),
      end: () => void stream.end(() => this.#call.sent()),
    })
  }

  #onHeaders(headers: IncomingHttpHeaders & { ':status'?: number | undefined }): void {
    const { headerError, foundStatus } = validateResponse(headers[':status'] ?? 0, fetchHeaders(headers))
    if (headerError !== undefined) throw headerError
    if (foundStatus) this.#trailers = headers
  }

  #onData(chunk: Uint8Array): void {
    const { federationMaxRequestBytes } = this.#options.limits
    this.#splitter.push(chunk)
    for (;;) {
      const bytes = this.#splitter.nextBytes ?? 0
      if (bytes > federationMaxRequestBytes) {
        throw limitError('federationMaxRequestBytes', federationMaxRequestBytes, { value: bytes })
      }
      const message = this.#splitter.next()
      if (message === undefined) return
      if (message.flags !== 0) throw compressed(message.flags)
      if (!this.#call.receive(decodeMessage(message.bytes))) return
    }
  }

  #onEnd(): void {
    if (this.#trailers === undefined) throw lost()
    const error = findTrailerError(fetchHeaders(this.#trailers))
    if (error !== undefined) throw error
    this.#over(undefined)
  }

  #guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#over(error)
    }
  }

  #over(error: unknown): void {
    this.#splitter.clear()
    this.#call.received(error)
  }
}

/** Only what the status is read from. */
function fetchHeaders(headers: IncomingHttpHeaders): Headers {
  const names = ['content-type', 'grpc-status', 'grpc-message', 'grpc-status-details-bin']
  return new Headers(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])))
}

function compressed(flags: number): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `a message has flags ${flags}, which nothing announced`)
}
