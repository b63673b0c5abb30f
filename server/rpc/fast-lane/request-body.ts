import { ErrorReason, MeshError, type Timer } from '@mesh/core'
import { BodyMeter, bodyTooLate, type MeterOptions } from '../../http/metered-body.ts'
import type { NodeRequest } from '../../http/request.ts'
import { MessageSplitter } from '../../wire/message-splitter.ts'

export interface BodyListener {
  /** One message of the request. May throw: the error goes to `onFailure`. */
  readonly onMessage: (message: Uint8Array) => void
  /** The client ended its half, with nothing left over. */
  readonly onEnd: () => void
  /** The body is not what it should be: too large, too late, cut off, or a message failed. Nothing follows. */
  readonly onFailure: (error: unknown) => void
}

/** Reads messages off a request as they arrive, under the meter that also guards the full lane. */
export class RequestBody {
  readonly #request: NodeRequest
  readonly #options: MeterOptions
  readonly #listener: BodyListener
  readonly #meter: BodyMeter
  readonly #splitter = new MessageSplitter()
  /** The chunks of a body that is one message. */
  #whole: Uint8Array[] = []
  #timer: Timer | undefined
  #stopped = false

  constructor(request: NodeRequest, options: MeterOptions, listener: BodyListener) {
    this.#request = request
    this.#options = options
    this.#listener = listener
    this.#meter = new BodyMeter(options)
  }

  start(): void {
    const request = this.#request
    request.on('data', this.#onData)
    request.on('end', this.#onEnd)
    // A request that breaks off also closes its response, which is where that is handled.
    request.on('error', () => {})
    this.#guarded(() => this.#meter.start())
    this.#watchDeadline()
  }

  pause(): void {
    this.#request.pause()
  }

  resume(): void {
    this.#request.resume()
  }

  /** Stops listening; what still comes is thrown away. Idempotent. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#timer?.cancel()
    this.#splitter.clear()
    this.#whole = []
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
    this.#request.resume()
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#guarded(() => {
      this.#meter.count(chunk)
      if (this.#options.framed) this.#emitFrames(chunk)
      else this.#whole.push(chunk)
      this.#watchDeadline()
    })
  }

  readonly #onEnd = (): void => {
    this.#guarded(() => {
      if (!this.#options.framed) this.#listener.onMessage(wholeOf(this.#whole))
      else if (this.#splitter.pendingBytes > 0) throw cutOff()
      this.stop()
      this.#listener.onEnd()
    })
  }

  #emitFrames(chunk: Uint8Array): void {
    this.#splitter.push(chunk)
    while (!this.#stopped) {
      const message = this.#splitter.next()
      if (message === undefined) return
      if (message.flags !== 0) throw unexpectedFlags(message.flags)
      this.#listener.onMessage(message.bytes)
    }
  }

  #guarded(run: () => void): void {
    if (this.#stopped) return
    try {
      run()
    } catch (error) {
      this.stop()
      this.#listener.onFailure(error)
    }
  }

  /** One timer that looks at the meter when it fires: frames come and go faster than timers should. */
  #watchDeadline(): void {
    const { clock, limits } = this.#options
    const deadlineMs = this.#meter.deadlineMs
    if (this.#timer !== undefined || deadlineMs === undefined || this.#stopped) return
    this.#timer = clock.schedule(deadlineMs - clock.monotonicMs(), () => {
      this.#timer = undefined
      const currentMs = this.#meter.deadlineMs
      if (currentMs !== undefined && currentMs <= clock.monotonicMs()) {
        this.#guarded(() => {
          throw bodyTooLate(limits)
        })
      } else this.#watchDeadline()
    })
  }
}

function wholeOf(chunks: readonly Uint8Array[]): Uint8Array {
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
}

function cutOff(): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, 'the request ended in the middle of a message')
}

/** Compressed messages announce themselves in a header, which sends a call to the full lane. */
function unexpectedFlags(flags: number): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `a message has flags ${flags}, which nothing announced`)
}
