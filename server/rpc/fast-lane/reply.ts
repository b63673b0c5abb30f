import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { ConnectError } from '@connectrpc/connect'
// Connect publishes these for protocol implementations, outside of its version promise; its version is pinned.
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  endStreamFlag,
  endStreamToJson,
  errorToJsonBytes,
} from '@connectrpc/connect/protocol-connect'
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc'
import { trailerFlag, trailerSerialize } from '@connectrpc/connect/protocol-grpc-web'
import type { NodeResponse } from '../../http/request.ts'
import type { PlainForm } from './plain-call.ts'
import { frame } from './responses.ts'

/** The response of one call: its head, its messages, and its end in the way its protocol wants it. */
export class Reply {
  readonly #response: NodeResponse
  readonly #call: PlainForm
  #started = false
  #ended = false
  #closed = false

  constructor(response: NodeResponse, call: PlainForm) {
    this.#response = response
    this.#call = call
    response.once('close', () => {
      this.#closed = true
    })
  }

  /** True once the response is complete, or its client gone. */
  get isOver(): boolean {
    return this.#ended || this.#closed
  }

  /** Writes framed messages, and calls `done` when the transport took them. False when the caller should wait for 'drain'. */
  write(frames: Uint8Array, done?: () => void): boolean {
    if (this.isOver) return true
    this.#start(200, this.#call.contentType)
    // One overload of write per HTTP version; the arguments are the same.
    return (this.#response as ServerResponse).write(frames, done)
  }

  /** Ends a unary call with its only message. */
  finishUnary(message: Uint8Array): void {
    if (this.isOver) return
    if (this.#call.framing !== 'connect-unary') {
      this.write(frame(0, message))
      this.finish(undefined)
      return
    }
    this.#response.setHeader('content-length', message.byteLength)
    this.#start(200, this.#call.contentType)
    this.#end(message)
  }

  /** Ends the call with its status: OK, or `error`. */
  finish(error: ConnectError | undefined): void {
    if (this.isOver) return
    switch (this.#call.framing) {
      case 'grpc':
        this.#start(200, this.#call.contentType)
        this.#response.addTrailers(Object.fromEntries(setTrailerStatus(new Headers(), error)))
        this.#end()
        return
      case 'grpc-web':
        this.#start(200, this.#call.contentType)
        this.#end(frame(trailerFlag, trailerSerialize(setTrailerStatus(new Headers(), error))))
        return
      case 'connect-stream':
        this.#start(200, this.#call.contentType)
        this.#end(frame(endStreamFlag, utf8(JSON.stringify(endStreamToJson(new Headers(), error, undefined)))))
        return
      case 'connect-unary':
        if (error === undefined) this.#end()
        else this.#failUnary(error)
    }
  }

  #failUnary(error: ConnectError): void {
    const body = errorToJsonBytes(error, undefined)
    this.#response.setHeader('content-length', body.byteLength)
    this.#start(codeToHttpStatus(error.code), contentTypeUnaryJson)
    this.#end(body)
  }

  #start(status: number, contentType: string): void {
    if (this.#started) return
    this.#started = true
    // writeHead, not stream.respond(): the CORS fields that were set before must not be lost.
    ;(this.#response as ServerResponse).writeHead(status, { 'content-type': contentType })
  }

  #end(last?: Uint8Array): void {
    this.#ended = true
    if (last === undefined) this.#response.end()
    else (this.#response as Http2ServerResponse).end(last)
  }
}

function utf8(text: string): Uint8Array {
  return Buffer.from(text, 'utf8')
}
