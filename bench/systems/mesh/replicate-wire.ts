import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type SigningKey, signNodeProof, systemRandom } from '@mesh/core'
import {
  Channel,
  type Frame,
  FrameSchema,
  type Hello,
  ReplicateRequestSchema,
  ReplicateResponseSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { FRAME_HEADER_BYTES, FrameReader, frame, writeFrameHeader } from './frames.ts'

const WINDOW_BYTES = 8 * 1_024 * 1_024
/** Frames the server may send before it waits: more than a run has. */
const CREDIT = 1_000_000

const TAG_REQUEST_FRAME = (1 << 3) | 2

type FrameValue = Frame['frame']

/** The directory channel of one server, as thin as the protocol allows: what it sends may be bytes made beforehand. */
export class ReplicateWire {
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #waiting: (() => void)[] = []
  #credit = 0

  private constructor(session: ClientHttp2Session, stream: ClientHttp2Stream) {
    this.#session = session
    this.#stream = stream
  }

  /** Opens the stream and proves `key`; `onFrame` gets what the server sends afterwards. */
  static async open(
    port: number,
    identity: { key: SigningKey; realm: string; epoch: bigint },
    onFrame: (frame: FrameValue) => void,
  ): Promise<ReplicateWire> {
    const session = connect(`http://127.0.0.1:${port}`, {
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
    })
    const stream = session.request({
      ':method': 'POST',
      ':path': '/mesh.federation.v1.FederationService/Replicate',
      'content-type': 'application/grpc+proto',
      te: 'trailers',
    })
    const wire = new ReplicateWire(session, stream)
    const { key, realm, epoch } = identity
    const channel = Channel.DIRECTORY
    let theirs: Hello | undefined
    await new Promise<void>((resolve, reject) => {
      const prove = async (hello: Hello): Promise<void> => {
        theirs = hello
        wire.#credit = hello.credit
        const fields = { challenge: hello.challenge, peerServerKey: hello.serverKey, realm, channel, epoch }
        wire.send([{ case: 'proof', value: { proof: await signNodeProof(key, fields) } as never }])
      }
      const reader = new FrameReader((message) => {
        for (const { frame } of fromBinary(ReplicateResponseSchema, message).frames) {
          if (frame.case === 'hello') void prove(frame.value).catch(reject)
          else if (frame.case === 'proof') resolve()
          else if (frame.case === 'credit') wire.#grant(frame.value.frames)
          else if (frame.case === 'goaway')
            reject(new Error(`goaway: reason ${frame.value.error?.reason}, ${frame.value.error?.limit}`))
          else onFrame(frame)
        }
      })
      stream.on('data', (chunk: Buffer) => reader.push(chunk))
      stream.on('error', reject)
      stream.on('trailers', (trailers) => reject(new Error(`ended: ${trailers['grpc-message']}`)))
      const challenge = systemRandom.bytes(32)
      const limits = { recordsPerSecond: 0xffff_ffff, messagesPerSecond: 0xffff_ffff, maxRequestBytes: 1 << 20 }
      const hello = { version: 1, serverKey: key.publicKey, realm, channel, epoch, challenge, credit: CREDIT }
      wire.send([
        {
          case: 'hello',
          value: { ...hello, limits: { ...limits, maxRows: 0xffff_ffffn, maxLeaseMs: 60_000 } } as never,
        },
      ])
    })
    if (theirs === undefined) throw new Error('a proof came without a hello')
    return wire
  }

  /** Sends frames that need no credit, or few. */
  send(frames: FrameValue[]): void {
    const request = create(ReplicateRequestSchema, {
      frames: frames.map((value) => create(FrameSchema, { frame: value })),
    })
    this.#stream.write(frame(toBinary(ReplicateRequestSchema, request)))
  }

  /** Sends one serialised `Frame`; waits for credit and for the transport. Returns the bytes it took on the stream. */
  async sendFrame(bytes: Uint8Array): Promise<number> {
    while (this.#credit === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#credit -= 1
    const prefix = lengthPrefix(TAG_REQUEST_FRAME, bytes.length)
    const head = Buffer.alloc(FRAME_HEADER_BYTES + prefix.length)
    writeFrameHeader(head, prefix.length + bytes.length)
    head.set(prefix, FRAME_HEADER_BYTES)
    this.#stream.write(head)
    if (!this.#stream.write(bytes)) await new Promise((resolve) => this.#stream.once('drain', resolve))
    return head.length + bytes.length
  }

  close(): void {
    this.#session.destroy()
  }

  #grant(frames: number): void {
    this.#credit += frames
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** A protobuf tag and length. */
export function lengthPrefix(tag: number, length: number): Buffer {
  const bytes = [tag]
  for (let rest = length; ; rest >>>= 7) {
    if (rest < 0x80) {
      bytes.push(rest)
      return Buffer.from(bytes)
    }
    bytes.push((rest & 0x7f) | 0x80)
  }
}
