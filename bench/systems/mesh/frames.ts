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
  /** The beginning of a message, put together once when its end is there. */
  #chunks: Buffer[] = []
  #bytes = 0
  #needed = FRAME_HEADER_BYTES

  constructor(message: (message: Buffer, flags: number) => void) {
    this.#message = message
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes >= this.#needed) this.#read(this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks))
  }

  /** Reports what is complete in `bytes`, which is all that there is, and keeps the rest. */
  #read(bytes: Buffer): void {
    let at = 0
    this.#needed = FRAME_HEADER_BYTES
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      this.#needed = FRAME_HEADER_BYTES + bytes.readUInt32BE(at + 1)
      if (bytes.length - at < this.#needed) break
      const end = at + this.#needed
      this.#message(bytes.subarray(at + FRAME_HEADER_BYTES, end), bytes[at]!)
      at = end
      this.#needed = FRAME_HEADER_BYTES
    }
    this.#chunks = at < bytes.length ? [bytes.subarray(at)] : []
    this.#bytes = bytes.length - at
  }
}
