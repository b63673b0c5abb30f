import { Agent, type ClientRequest, type IncomingMessage, request as startRequest } from 'node:http'
import { FLAG_END_STREAM, FrameReader } from './frames.ts'
import { type Method, methodPath, type StreamHandlers, type Wire, type WireStream } from './wire.ts'

/** What a browser opens to one origin over HTTP/1.1. */
const MAX_CONNECTIONS = 6

/** Connect over HTTP/1.1, as a page on a plaintext origin has it: fetch for calls, a fetch that stays open for the stream. */
export class WebWire implements Wire {
  token = ''
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS })

  constructor(port: number) {
    this.#port = port
  }

  call(method: Method, body: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const request = this.#start(method, 'application/proto', body.length, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const answer = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
          if (response.statusCode === 200) resolve(answer)
          else reject(new Error(`${method}: ${response.statusCode} ${answer}`))
        })
      })
      request.on('error', reject)
      request.end(body)
    })
  }

  stream(method: 'Subscribe' | 'Exchange', handlers: StreamHandlers): WireStream {
    const request = this.#start(method, 'application/connect+proto', undefined, (response) => {
      const reader = new FrameReader((message, flags) => {
        if (flags & FLAG_END_STREAM) handlers.ended(String(message))
        else handlers.message(message)
      })
      response.on('data', (chunk: Buffer) => reader.push(chunk))
      response.on('close', () => handlers.ended('connection closed'))
    })
    request.on('error', (error) => handlers.ended(error.message))
    return request
  }

  #start(
    method: Method,
    type: string,
    length: number | undefined,
    answered: (response: IncomingMessage) => void,
  ): ClientRequest {
    return startRequest(
      {
        host: '127.0.0.1',
        port: this.#port,
        agent: this.#agent,
        method: 'POST',
        path: methodPath(method),
        headers: {
          'content-type': type,
          'connect-protocol-version': '1',
          ...(length !== undefined && { 'content-length': length }),
          ...(this.token && { authorization: `Bearer ${this.token}` }),
        },
      },
      answered,
    )
  }
}
