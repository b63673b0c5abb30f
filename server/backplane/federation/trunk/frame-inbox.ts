import { ErrorReason, MeshError } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'

/** Frames of a stream that opens, for one reader. Overflow: the frame is refused, and with it the stream. */
export class FrameInbox {
  readonly #maxFrames: number
  readonly #frames: Frame[] = []
  #reader: { resolve(frame: Frame): void; reject(error: MeshError): void } | undefined
  #failure: MeshError | undefined

  constructor(maxFrames: number) {
    this.#maxFrames = maxFrames
  }

  /** @throws MeshError INVALID_ARGUMENT when more frames come than the handshake has. */
  push(frame: Frame): void {
    if (this.#reader !== undefined) {
      this.#reader.resolve(frame)
      this.#reader = undefined
      return
    }
    if (this.#frames.length >= this.#maxFrames) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'federation handshake: frames before the proof was accepted')
    }
    this.#frames.push(frame)
  }

  /** The next frame, once it is there. Rejects with the error of `fail`. */
  read(): Promise<Frame> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const frame = this.#frames.shift()
    if (frame !== undefined) return Promise.resolve(frame)
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }

  /** Nothing more comes. */
  fail(error: MeshError): void {
    this.#failure = error
    this.#reader?.reject(error)
    this.#reader = undefined
  }

  /** What came and was not read. */
  takeAll(): Frame[] {
    return this.#frames.splice(0)
  }
}
