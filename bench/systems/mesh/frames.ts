/** gRPC and Connect stream framing: one byte of flags, four of length (big endian), then the message. */
export const FRAME_HEADER_BYTES = 5

/** Connect's last frame of a stream: JSON with the status. gRPC has none, its status is in the trailers. */
export const FLAG_END_STREAM = 2

export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(FRAME_HEADER_BYTES + message.length)
  writeFrameHeader(framed, message.length)
  framed.set(message, FRAME_HEADER_BYTES)
  return framed
}

export function writeFrameHeader(target: Buffer, length: number): void {
  target[0] = 0
  target.writeUInt32BE(length, 1)
}

/** Cuts a byte stream into messages, whatever the chunks look like. A message is a view, valid during the callback. */
export class FrameReader {
  readonly #message: (message: Buffer, flags: number) => void
  #rest: Buffer | undefined

  constructor(message: (message: Buffer, flags: number) => void) {
    this.#message = message
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    let at = 0
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUInt32BE(at + 1)
      if (end > bytes.length) break
      this.#message(bytes.subarray(at + FRAME_HEADER_BYTES, end), bytes[at]!)
      at = end
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined
  }
}
