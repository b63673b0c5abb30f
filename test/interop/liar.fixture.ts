import { randomBytes } from 'node:crypto'
import { ForeignMember, REALM } from './realm.fixture.ts'
import {
  type Envelope,
  encode,
  type Frame,
  type Key,
  type OriginState,
  type Row,
} from './replicate-messages.fixture.ts'
import { ReplicatePeer } from './replicate-peer.fixture.ts'
import type { ReplicateStream, StreamEnd, Target } from './replicate-stream.fixture.ts'

/** A server that is one of the realm, until it starts to lie: what it says is what it says truthfully, with changes. */
export class Liar {
  readonly key: Key
  readonly peer: ReplicatePeer
  /** Its one honest member. */
  readonly dave: ForeignMember
  readonly topic: Buffer
  #directory: ReplicateStream | undefined
  #messages: ReplicateStream | undefined

  constructor(key: Key, topic: Buffer) {
    this.key = key
    this.topic = topic
    this.peer = new ReplicatePeer(key, REALM)
    this.dave = new ForeignMember(key.publicKey)
  }

  async join(target: Target): Promise<void> {
    const streams = await this.peer.join(target)
    this.#directory = streams.directory
    this.#messages = streams.messages
    this.peer.log(this.dave.row(this.topic))
  }

  get directory(): ReplicateStream {
    if (this.#directory === undefined) throw new Error('joined nobody')
    return this.#directory
  }

  get messages(): ReplicateStream {
    if (this.#messages === undefined) throw new Error('joined nobody')
    return this.#messages
  }

  /** Rows of `count` members that nobody has heard of. */
  strangers(count: number): Row[] {
    return Array.from({ length: count }, () => new ForeignMember(this.key.publicKey).row(this.topic))
  }

  /** The next entry of its log. */
  rows(rows: Row[], changes: object = {}): Frame {
    const seq = String(this.peer.seq + 1n)
    const position = { origin: this.key.publicKey, epoch: String(this.peer.epoch), fromSeq: seq, toSeq: seq }
    return { rows: { ...position, rows, ...changes } }
  }

  /** A page of a snapshot; the only one of its snapshot unless changed. */
  page(rows: Row[], page: object = {}, changes: object = {}): Frame {
    const snapshot = { snapshotId: '9', page: 0, pageCount: 1, ...page }
    return this.rows(rows, { fromSeq: '0', toSeq: String(this.peer.seq), snapshot, ...changes })
  }

  state(changes: Partial<OriginState>): Frame {
    return { originState: { ...this.peer.state(), ...changes } }
  }

  /** From now on all its states are changed so; the first one goes out at once. */
  claim(changes: Partial<OriginState>): void {
    const truth = this.peer.state.bind(this.peer)
    this.peer.state = () => ({ ...truth(), ...changes })
    this.peer.announce()
  }

  /** From now on it answers every Pull of its own rows so. */
  onPull(answer: () => void): void {
    this.peer.onFrame = ({ pull }) => {
      const isOurs = pull?.after.origin.equals(this.key.publicKey) === true
      if (isOurs) answer()
      return isOurs
    }
  }

  /** Says that its table is another one and answers the Pull that this brings with these frames. */
  answerPull(frames: () => Frame[]): void {
    this.onPull(() => this.sendAll(frames()))
    this.claim({ digest: randomBytes(32) })
  }

  logAll(rows: Row[]): void {
    for (const row of rows) this.peer.log(row)
  }

  sendAll(frames: Frame[]): void {
    for (const frame of frames) this.directory.send(frame)
  }

  /** From its member to a peer, serialised. */
  envelope(to: Buffer, changes: Partial<Envelope> = {}): Buffer {
    const stamped = { from: this.dave.key.publicKey, fromSession: this.dave.session }
    const fields: Envelope = { id: randomBytes(16), to, topic: this.topic, payload: Buffer.from('lie'), ...stamped }
    return encode('mesh.signal.v1.Envelope', { ...fields, ...changes })
  }

  /** Which of its streams ended, and how. */
  ended(): Promise<StreamEnd & { channel: 'directory' | 'messages' }> {
    return Promise.race([
      this.directory.ended.then((end) => ({ ...end, channel: 'directory' as const })),
      this.messages.ended.then((end) => ({ ...end, channel: 'messages' as const })),
    ])
  }

  close(): Promise<void> {
    return this.peer.close()
  }
}

/** The row, with one bit of its signature changed. */
export function forged(row: Row): Row {
  if (row.record == null) throw new Error('nothing to forge')
  const signature = Buffer.from(row.record.signature)
  signature.writeUInt8(signature.readUInt8(40) ^ 1, 40)
  return { ...row, record: { ...row.record, signature } }
}
