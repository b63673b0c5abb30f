/**
 * A server that federates, small enough to read at once, for authors of other servers. It is written from proto/,
 * docs/protocol.md ("Between servers") and docs/federation.md alone, on the reference implementation of gRPC for Node.
 * It announces the memberships of its own peers, keeps a replica of the table of each server it calls, and passes
 * envelopes. It keeps no log: whoever missed something gets a snapshot of one page.
 *
 * Left out: taking calls, a back-off between its own, strict checks of Ed25519 keys and of others' records (its clients
 * check them anyway), the way through a third server, and pacing below the other's rates.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import {
  type Channel,
  decode,
  type Envelope,
  encode,
  type Frame,
  type Key,
  type OriginPosition,
  type OriginState,
  type Receipt,
  type Row,
  type Rows,
} from './replicate-messages.fixture.ts'
import { ReplicateStream, type Target } from './replicate-stream.fixture.ts'

/** What is known of another server's peers. */
interface Replica {
  epoch: bigint
  seq: bigint
  rows: Map<string, Row>
  /** Of a snapshot that is not complete yet. */
  pages: Row[]
  /** Of the last state. */
  stateEpoch: bigint
  beat: bigint
  shownUntilMs: number
}

const STATE_MS = 1_000
const LEASE_MS = 10_000
const DAY_MS = 86_400_000n

export class ReplicatePeer {
  readonly #key: Key
  readonly #realm: string
  readonly #table = new Map<string, Row>()
  readonly #replicas = new Map<string, Replica>()
  readonly #streams = new Map<string, ReplicateStream>()
  readonly #receipts = new Map<string, (receipt: Receipt) => void>()
  readonly #heartbeat: NodeJS.Timeout
  #epoch: bigint
  #seq = 0n
  #beat = 0n
  #attempt = 0n
  /** Delivers an envelope to one of our peers and says what became of it. */
  onEnvelope: (envelope: Envelope) => Omit<Receipt, 'attempt'> = () => ({ status: 'OUTCOME_STATUS_DELIVERED' })
  /** Sees every frame first; true when it has taken care of it. */
  onFrame: (frame: Frame) => boolean = () => false

  constructor(key: Key, realm: string, wallMs = BigInt(Date.now())) {
    this.#key = key
    this.#realm = realm
    this.#epoch = newEpoch(wallMs)
    this.#heartbeat = setInterval(() => this.announce(), STATE_MS)
  }

  get epoch(): bigint {
    return this.#epoch
  }

  get seq(): bigint {
    return this.#seq
  }

  /** Calls a server, once for each channel; resolves when both streams are proven. */
  async join(target: Target): Promise<{ directory: ReplicateStream; messages: ReplicateStream }> {
    const both = [this.open(target, 'CHANNEL_DIRECTORY'), this.open(target, 'CHANNEL_MESSAGES')] as const
    const [directory, messages] = await Promise.all(both)
    return { directory, messages }
  }

  async open(target: Target, channel: Channel): Promise<ReplicateStream> {
    const options = { key: this.#key, realm: this.#realm, epoch: this.#epoch, target, channel, have: this.#have() }
    const stream: ReplicateStream = new ReplicateStream(options, (frame) => this.#take(stream, frame))
    await stream.proven
    const id = streamId(target.key, channel)
    this.#streams.set(id, stream)
    void stream.ended.then(() => this.#streams.get(id) === stream && this.#streams.delete(id))
    if (channel === 'CHANNEL_DIRECTORY') this.#bringUpToDate(stream)
    return stream
  }

  /** The members of a topic at that server, as far as its lease lasts. */
  members(server: Buffer, topic: Buffer): Row[] {
    const replica = this.#replicas.get(hex(server))
    if (replica === undefined || Date.now() > replica.shownUntilMs) return []
    return [...replica.rows.values()].filter((row) => row.topic.equals(topic))
  }

  /** Sets or, with `gone`, takes away a row of our table, and tells everybody. */
  log(row: Row): void {
    if (row.gone) this.#table.delete(rowId(row))
    else this.#table.set(rowId(row), row)
    this.#seq += 1n
    for (const stream of this.#directories()) stream.send({ rows: this.#rows([row], this.#seq) })
    this.announce()
  }

  /** Says that our rows are still true. */
  announce(): void {
    for (const stream of this.#directories()) stream.send({ originState: this.state() })
  }

  state(): OriginState {
    const rows = [...this.#table.values()]
    const counts = { headSeq: String(this.#seq), rowCount: String(rows.length), beat: String(++this.#beat) }
    const origin = this.#key.publicKey
    return { origin, epoch: String(this.#epoch), ...counts, digest: digestOf(rows), leaseMs: LEASE_MS }
  }

  /** Hands an envelope to a server and waits for its receipt. */
  send(server: Buffer, envelope: Envelope): Promise<Receipt> {
    const stream = this.#streams.get(streamId(server, 'CHANNEL_MESSAGES'))
    if (stream === undefined) throw new Error('no stream for messages')
    const attempt = String(++this.#attempt)
    stream.send({ envelopes: { envelopes: [{ envelope: encode('mesh.signal.v1.Envelope', envelope), attempt }] } })
    return new Promise((resolve) => this.#receipts.set(attempt, resolve))
  }

  /** Ends all streams, as if the lines were cut; `join` may follow. */
  async disconnect(): Promise<void> {
    const streams = [...this.#streams.values()]
    for (const stream of streams) stream.close()
    await Promise.all(streams.map(({ ended }) => ended))
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat)
    await this.disconnect()
  }

  *#directories(): Iterable<ReplicateStream> {
    for (const [id, stream] of this.#streams) if (id.endsWith('CHANNEL_DIRECTORY')) yield stream
  }

  #have(): OriginPosition[] {
    return [...this.#replicas].map(([origin, { epoch, seq }]) => position(Buffer.from(origin, 'hex'), epoch, seq))
  }

  /** A piece of the log that ends at `toSeq`, or a snapshot. */
  #rows(rows: Row[], fromSeq: bigint, snapshot?: Rows['snapshot']): Rows {
    const common = { origin: this.#key.publicKey, epoch: String(this.#epoch), toSeq: String(this.#seq), rows }
    return { ...common, fromSeq: String(fromSeq), ...(snapshot && { snapshot }) }
  }

  #sendSnapshot(stream: ReplicateStream): void {
    const snapshotId = BigInt(`0x${randomBytes(8).toString('hex')}`)
    const snapshot = { snapshotId: String(snapshotId), page: 0, pageCount: 1 }
    stream.send({ rows: this.#rows([...this.#table.values()], 0n, snapshot) })
  }

  #bringUpToDate(stream: ReplicateStream): void {
    const held = stream.theirs.have.find(({ origin }) => origin.equals(this.#key.publicKey))
    this.#answerHave(stream, held ?? position(this.#key.publicKey, 0n, 0n))
    stream.send({ originState: this.state() })
  }

  /** Brings a server from what it holds of us to what we are now. */
  #answerHave(stream: ReplicateStream, held: OriginPosition): void {
    const [epoch, seq] = [BigInt(held.epoch), BigInt(held.seq)]
    if (epoch > this.#epoch || (epoch === this.#epoch && seq > this.#seq)) return this.#startOver(stream, epoch)
    if (epoch !== this.#epoch || seq !== this.#seq || seq === 0n) this.#sendSnapshot(stream)
  }

  /** Somebody remembers a later life of ours, from before our clock was set back: we move past it. */
  #startOver(stream: ReplicateStream, epoch: bigint): void {
    if (epoch >> 21n > BigInt(Date.now()) + DAY_MS) return stream.refuse('EPOCH_STALE')
    this.#epoch = newEpoch((epoch >> 21n) + 1n)
    for (const each of this.#directories()) this.#sendSnapshot(each)
    this.announce()
  }

  #take(stream: ReplicateStream, frame: Frame): void {
    if (this.onFrame(frame)) return
    if (frame.rows) this.#takeRows(stream, frame.rows)
    else if (frame.originState) this.#takeState(stream, frame.originState)
    else if (frame.pull?.after.origin.equals(this.#key.publicKey)) this.#answerHave(stream, frame.pull.after)
    else if (frame.envelopes)
      stream.send({
        receipts: {
          receipts: frame.envelopes.envelopes.map(({ envelope, attempt }) => ({
            attempt,
            ...this.onEnvelope(decode<Envelope>('mesh.signal.v1.Envelope', envelope)),
          })),
        },
      })
    else if (frame.receipts)
      for (const receipt of frame.receipts.receipts) {
        this.#receipts.get(receipt.attempt)?.(receipt)
        this.#receipts.delete(receipt.attempt)
      }
  }

  #takeRows(stream: ReplicateStream, { origin, rows, snapshot, ...range }: Rows): void {
    if (!origin.equals(stream.target.key)) return stream.refuse('ORIGIN_FORGED')
    const [epoch, fromSeq, toSeq] = [BigInt(range.epoch), BigInt(range.fromSeq), BigInt(range.toSeq)]
    const replica = this.#replicaOf(origin)
    if (snapshot) {
      if (snapshot.page === 0) replica.pages = []
      replica.pages.push(...rows)
      if (snapshot.page + 1 < snapshot.pageCount) return
      Object.assign(replica, { epoch, seq: toSeq, rows: new Map(replica.pages.map((row) => [rowId(row), row])) })
    } else {
      if (epoch !== replica.epoch || fromSeq > replica.seq + 1n)
        return stream.send({ pull: { after: position(origin, replica.epoch, replica.seq) } })
      for (const row of rows.slice(Number(replica.seq + 1n - fromSeq)))
        if (row.gone) replica.rows.delete(rowId(row))
        else replica.rows.set(rowId(row), row)
      if (toSeq > replica.seq) replica.seq = toSeq
    }
  }

  #takeState(stream: ReplicateStream, state: OriginState): void {
    if (!state.origin.equals(stream.target.key)) return stream.refuse('ORIGIN_FORGED')
    const replica = this.#replicaOf(state.origin)
    const [epoch, beat] = [BigInt(state.epoch), BigInt(state.beat)]
    if (epoch < replica.stateEpoch || (epoch === replica.stateEpoch && beat <= replica.beat)) return
    Object.assign(replica, { stateEpoch: epoch, beat, shownUntilMs: Date.now() + state.leaseMs })
    const isAtHead = epoch === replica.epoch && BigInt(state.headSeq) === replica.seq
    const isSame = Number(state.rowCount) === replica.rows.size && state.digest.equals(digestOf(replica.rows.values()))
    if (isAtHead && !isSame) stream.send({ pull: { after: position(state.origin, epoch, 0n) } })
  }

  #replicaOf(origin: Buffer): Replica {
    const held = this.#replicas.get(hex(origin))
    if (held !== undefined) return held
    const replica = { epoch: 0n, seq: 0n, rows: new Map(), pages: [], stateEpoch: 0n, beat: 0n, shownUntilMs: 0 }
    this.#replicas.set(hex(origin), replica)
    return replica
  }
}

/** Sum of SHA-256(signature || record) over the rows, modulo 2^256, big-endian. */
export function digestOf(rows: Iterable<Row>): Buffer {
  let sum = 0n
  for (const { record } of rows) {
    const hash = createHash('sha256')
      .update(record?.signature ?? '')
      .update(record?.record ?? '')
    sum += BigInt(`0x${hash.digest('hex')}`)
  }
  return Buffer.from(BigInt.asUintN(256, sum).toString(16).padStart(64, '0'), 'hex')
}

function newEpoch(wallMs: bigint): bigint {
  return (wallMs << 21n) | BigInt(randomInt(2 ** 21))
}

function position(origin: Buffer, epoch: bigint, seq: bigint): OriginPosition {
  return { origin, epoch: String(epoch), seq: String(seq) }
}

function streamId(server: Buffer, channel: Channel): string {
  return `${hex(server)} ${channel}`
}

function rowId({ topic, peerKey }: Row): string {
  return `${hex(topic)} ${hex(peerKey)}`
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}
