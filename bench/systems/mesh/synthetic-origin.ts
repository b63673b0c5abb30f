import { randomBytes } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { generateSigningKey, type SigningKey } from '@mesh/core'
import {
  FrameSchema,
  ReplicateRequestSchema,
  RowsSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { serveWorker } from '../../harness/worker.ts'
import { lengthPrefix, ReplicateWire } from './replicate-wire.ts'
import { RowDigest } from './row-digest.ts'
import { ROWS_PER_TOPIC, RowTemplate } from './row-template.ts'

const TAG_FRAME_ROWS = (3 << 3) | 2
const TAG_ROWS_ROW = (6 << 3) | 2
const ROWS_PER_PAGE = 1_000
const LEASE_MS = 30_000
const STATE_MS = 1_000

/** An origin with as many rows as wanted and no peers: what a server that replicates has to take, and nothing else. */
class SyntheticOrigin {
  readonly #key: SigningKey
  readonly #epoch = (BigInt(Date.now()) << 21n) | 1n
  readonly #frames: Buffer[] = []
  readonly #digest = new RowDigest()
  #rows = 0
  #head = 0n
  #beat = 0n
  #wire: ReplicateWire | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(key: SigningKey) {
    this.#key = key
  }

  get publicKey(): Uint8Array {
    return this.#key.publicKey
  }

  /** Makes `count` rows, as pages of one snapshot or as pieces of the log. */
  prepare(count: number, as: 'snapshot' | 'log'): void {
    const template = new RowTemplate(this.#key.publicKey, Date.now())
    const prefix = lengthPrefix(TAG_ROWS_ROW, template.rowBytes)
    const stride = prefix.length + template.rowBytes
    const pages = Math.ceil(count / ROWS_PER_PAGE)
    const snapshotId = randomBytes(6).readUIntBE(0, 6)
    this.#frames.length = 0
    for (let page = 0; page < pages; page++) {
      const size = Math.min(ROWS_PER_PAGE, count - page * ROWS_PER_PAGE)
      const body = Buffer.allocUnsafe(size * stride)
      for (let row = 0; row < size; row++) {
        body.set(prefix, row * stride)
        this.#digest.add(template.write(body, row * stride + prefix.length, page * ROWS_PER_PAGE + row))
      }
      const toSeq = as === 'snapshot' ? this.#head + BigInt(count) : this.#head + BigInt(page * ROWS_PER_PAGE + size)
      const rows = create(RowsSchema, {
        origin: this.#key.publicKey,
        epoch: this.#epoch,
        fromSeq: as === 'snapshot' ? 0n : this.#head + BigInt(page * ROWS_PER_PAGE) + 1n,
        toSeq,
        ...(as === 'snapshot' && { snapshot: { snapshotId: BigInt(snapshotId), page, pageCount: pages } }),
      })
      const value = Buffer.concat([toBinary(RowsSchema, rows), body])
      this.#frames.push(Buffer.concat([lengthPrefix(TAG_FRAME_ROWS, value.length), value]))
    }
    this.#head += BigInt(count)
    this.#rows += count
  }

  async connect(port: number, realm: string): Promise<void> {
    this.#wire = await ReplicateWire.open(port, { key: this.#key, realm, epoch: this.#epoch }, () => {})
    this.#timer = setInterval(() => this.#sendState(), STATE_MS)
  }

  /** Sends what was prepared; resolves when the transport took it all. Bytes on the stream. */
  async publish(): Promise<number> {
    let bytes = 0
    for (const frame of this.#frames) bytes += await this.#wire!.sendFrame(frame)
    this.#sendState()
    return bytes
  }

  /** Milliseconds to decode the prepared bytes with protobuf-es and look at nothing. */
  decode(): number {
    const requests = this.#frames.map((frame) => Buffer.concat([lengthPrefix((1 << 3) | 2, frame.length), frame]))
    const startedMs = performance.now()
    for (const request of requests) fromBinary(ReplicateRequestSchema, request)
    return performance.now() - startedMs
  }

  close(): void {
    clearInterval(this.#timer)
    this.#wire?.close()
  }

  #sendState(): void {
    this.#beat += 1n
    const state = {
      origin: this.#key.publicKey,
      epoch: this.#epoch,
      headSeq: this.#head,
      rowCount: BigInt(this.#rows),
      digest: this.#digest.value,
      leaseMs: LEASE_MS,
      beat: this.#beat,
    }
    this.#wire?.send([create(FrameSchema, { frame: { case: 'originState', value: state as never } }).frame])
  }
}

let origin: SyntheticOrigin

serveWorker({
  async create(): Promise<Uint8Array> {
    origin = new SyntheticOrigin(await generateSigningKey())
    return origin.publicKey
  },
  prepare: ({ count, as }: { count: number; as: 'snapshot' | 'log' }) => origin.prepare(count, as),
  connect: ({ port, realm }: { port: number; realm: string }) => origin.connect(port, realm),
  publish: () => origin.publish(),
  decode: () => origin.decode(),
  close: () => origin.close(),
  rowsPerTopic: () => ROWS_PER_TOPIC,
})
