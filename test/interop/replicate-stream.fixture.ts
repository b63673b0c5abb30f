import { randomBytes } from 'node:crypto'
import { credentials, type StatusObject } from '@grpc/grpc-js'
import {
  type Channel,
  decode,
  type ErrorDetail,
  encode,
  FederationService,
  type Frame,
  type Hello,
  isSignedBy,
  type Key,
  type NodeProof,
  type OriginPosition,
  type ReplicateCall,
} from './replicate-messages.fixture.ts'

/** Another server: its key, and where it listens. */
export interface Target {
  readonly key: Buffer
  /** Host and port. */
  readonly address: string
}

export interface StreamOptions {
  readonly key: Pick<Key, 'publicKey' | 'sign'>
  readonly target: Target
  readonly realm: string
  readonly channel: Channel
  readonly epoch: bigint
  readonly have: readonly OriginPosition[]
}

/** How a stream ended. The error is that of the Goaway or, where none came through, of the status. */
export interface StreamEnd {
  readonly error: ErrorDetail | undefined
  readonly status: StatusObject
}

/** Frames we let the other side send before it waits; half of it is given back at a time. */
const CREDIT = 64
const MAX_REQUEST_BYTES = 1_048_576
const LIMITS = { recordsPerSecond: 5_000, messagesPerSecond: 2_000, maxRows: 1_000_000, maxLeaseMs: 60_000 }
const FREE = new Set(['hello', 'proof', 'credit', 'goaway'])

/**
 * A stream that we call, proven in both directions (docs/protocol.md, "Opening a stream"):
 *
 *   we   Hello(our challenge)         ─▶
 *        ◀─ Hello(their challenge)        their key, realm and channel must be those we dialled
 *        Proof(their challenge)       ─▶
 *        ◀─ Proof(our challenge)          from here on, frames both ways, each for one credit of the other side
 */
export class ReplicateStream {
  readonly #options: StreamOptions
  readonly #client
  readonly #call: ReplicateCall
  readonly #challenge = randomBytes(32)
  readonly #onFrame: (frame: Frame) => void
  readonly #waiting: Frame[] = []
  #credit = 0
  #taken = 0
  #theirs: Hello | undefined
  #error: ErrorDetail | undefined
  #proven: () => void = () => {}
  /** Settles when both sides are proven; rejects when the stream ends before. */
  readonly proven: Promise<void>
  readonly ended: Promise<StreamEnd>

  constructor(options: StreamOptions, onFrame: (frame: Frame) => void) {
    this.#options = options
    this.#onFrame = onFrame
    this.#client = new FederationService(options.target.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1, // each stream has a connection of its own; grpc-js would share one
      'grpc.keepalive_time_ms': 2_000,
      'grpc.keepalive_timeout_ms': 2_000,
      'grpc-node.flow_control_window': 4 * 1_048_576,
      'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    })
    this.#call = this.#client.Replicate()
    this.ended = new Promise((resolve) => {
      this.#call.on('status', (status: StatusObject) => resolve({ error: this.#error ?? detailOf(status), status }))
      this.#call.on('error', () => {}) // the status says it all
    })
    this.proven = new Promise((resolve, reject) => {
      this.#proven = resolve
      void this.ended.then(({ error, status }) => reject(new Error(error?.reason ?? status.details)))
    })
    this.proven.catch(() => {}) // whoever does not wait for it hears of the end by `ended`
    this.#call.on('data', ({ frames }: { frames: readonly Frame[] }) => {
      for (const frame of frames) this.#take(frame)
    })
    const { key, realm, channel, epoch, have } = options
    const common = { version: 1, serverKey: key.publicKey, realm, channel, epoch: String(epoch), have }
    const limits = { ...LIMITS, maxRequestBytes: MAX_REQUEST_BYTES }
    this.write({ hello: { ...common, challenge: this.#challenge, limits, credit: CREDIT } })
  }

  /** The other side's Hello. */
  get theirs(): Hello {
    if (this.#theirs === undefined) throw new Error('no Hello yet')
    return this.#theirs
  }

  get target(): Target {
    return this.#options.target
  }

  /** Sends a frame as soon as the other side's credit allows. */
  send(frame: Frame): void {
    this.#waiting.push(frame)
    this.#flush()
  }

  /** Sends a frame at once, whatever the rules say. */
  write(...frames: Frame[]): void {
    this.#call.write({ frames })
  }

  /** Ends the stream and its connection. */
  close(): void {
    this.#call.cancel()
    this.#client.close()
  }

  /** Tells the other side why, and ends. */
  refuse(reason: string): void {
    this.write({ goaway: { deadlineMs: 0, error: { reason: `ERROR_REASON_${reason}` } } })
    this.#call.end()
    this.#client.close()
  }

  #flush(): void {
    while (this.#credit > 0 && this.#waiting.length > 0) {
      this.#credit -= 1
      this.write(this.#waiting.shift() as Frame)
    }
  }

  #take(frame: Frame): void {
    if (frame.hello) this.#takeHello(frame.hello)
    else if (frame.proof) this.#takeProof(frame.proof.proof)
    else if (frame.credit) this.#takeCredit(frame.credit.frames)
    else if (frame.goaway) this.#error = frame.goaway.error ?? undefined
    else this.#onFrame(frame)
    if (FREE.has(frame.frame ?? '') || ++this.#taken < CREDIT / 2) return
    this.write({ credit: { frames: this.#taken } })
    this.#taken = 0
  }

  #takeHello(theirs: Hello): void {
    const { key, target, realm, channel, epoch } = this.#options
    if (!theirs.serverKey.equals(target.key)) return this.refuse('SERVER_KEY_MISMATCH')
    if (theirs.realm !== realm || theirs.channel !== channel) return this.refuse('REALM_MISMATCH')
    this.#theirs = theirs
    const keys = { serverKey: key.publicKey, peerServerKey: target.key }
    const proof: NodeProof = { version: 1, challenge: theirs.challenge, ...keys, realm, channel, epoch: String(epoch) }
    const statement = encode('mesh.federation.v1.NodeProof', proof)
    this.write({ proof: { proof: { statement, signature: key.sign('session-node', statement) } } })
  }

  #takeProof(proof: { statement: Buffer; signature: Buffer }): void {
    const { key, target, realm, channel } = this.#options
    const said = decode<NodeProof>('mesh.federation.v1.NodeProof', proof.statement)
    const isOurs = said.challenge.equals(this.#challenge) && said.peerServerKey.equals(key.publicKey)
    const isTheirs = said.serverKey.equals(target.key) && said.epoch === this.theirs.epoch
    if (said.version !== 1 || !isOurs || !isTheirs || said.realm !== realm || said.channel !== channel)
      return this.refuse('SERVER_KEY_MISMATCH')
    if (!isSignedBy(target.key, 'session-node', proof)) return this.refuse('SIGNATURE_INVALID')
    this.#proven()
    this.#takeCredit(this.theirs.credit)
  }

  #takeCredit(frames: number): void {
    this.#credit += frames
    this.#flush()
  }
}

/** The ErrorDetail of a status: grpc-status-details-bin is a google.rpc.Status with one Any, which names its type and then has its length and its bytes. */
function detailOf({ metadata }: StatusObject): ErrorDetail | undefined {
  const [status] = metadata.get('grpc-status-details-bin') as Buffer[]
  const type = 'type.googleapis.com/mesh.signal.v1.ErrorDetail'
  if (status === undefined || !status.includes(type)) return undefined
  const at = status.indexOf(type) + type.length + 2 // behind the tag and the length, one byte each
  return decode<ErrorDetail>('mesh.signal.v1.ErrorDetail', status.subarray(at, at + status.readUInt8(at - 1)))
}
