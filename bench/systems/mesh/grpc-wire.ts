import { type ClientHttp2Stream, connect } from 'node:http2'
import { FrameReader, frame } from './frames.ts'
import { type Method, methodPath, type StreamHandlers, type Wire, type WireStream } from './wire.ts'

/** 1 MiB: the default window of 64 KiB would stall batches on its own. */
const WINDOW_BYTES = 1_048_576

/** gRPC over one HTTP/2 connection, as a Node or native client has it. */
export class GrpcWire implements Wire {
  token = ''
  readonly #session

  private constructor(session: ReturnType<typeof connect>) {
    this.#session = session
  }

  static async open(origin: string): Promise<GrpcWire> {
    const session = connect(origin, { settings: { initialWindowSize: WINDOW_BYTES, enablePush: false } })
    await new Promise<void>((resolve, reject) => {
      session.once('connect', () => resolve())
      session.once('error', reject)
    })
    return new GrpcWire(session)
  }

  call(method: Method, request: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let response: Uint8Array | undefined
      const stream = this.#request(method, {
        message: (message) => {
          response = Uint8Array.from(message)
        },
        ended: (reason) => (response && reason === '0' ? resolve(response) : reject(new Error(`${method}: ${reason}`))),
      })
      stream.end(frame(request))
    })
  }

  stream(method: 'Subscribe' | 'Exchange', handlers: StreamHandlers): WireStream {
    return this.#request(method, handlers)
  }

  /** Ends the connection and its streams. */
  close(): void {
    this.#session.destroy()
  }

  /** `ended` gets the gRPC status, with its message when it is not "0" (OK). */
  #request(method: Method, handlers: StreamHandlers): ClientHttp2Stream {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': methodPath(method),
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      ...(this.token && { authorization: `Bearer ${this.token}` }),
    })
    const reader = new FrameReader(handlers.message)
    let status = 'no status'
    const readStatus = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] === undefined) return
      const text = decodeURIComponent(String(headers['grpc-message'] ?? ''))
      status = text ? `${headers['grpc-status']} ${text}` : String(headers['grpc-status'])
    }
    stream.on('response', readStatus)
    stream.on('trailers', readStatus)
    stream.on('data', (chunk: Buffer) => reader.push(chunk))
    stream.on('error', (error) => {
      status = error.message
    })
    stream.on('close', () => handlers.ended(status))
    return stream
  }
}
