import { createPrivateKey, sign } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import {
  type Clock,
  ErrorReason,
  MeshError,
  type NodeProofFields,
  type SigningKey,
  seededRandom,
  signingKeyFromSeed,
  signNodeProof,
} from '@mesh/core'
import {
  Channel,
  type Frame,
  FrameSchema,
  type Hello,
  HelloSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { type ByteKey, byteKey } from '../../../byte-key.ts'
import { resolveLimits, type ServerLimits } from '../../../limits/server-limits.ts'
import type { LogFields } from '../../../ops/log.ts'
import { nodeVerify } from '../../../session/node-verify.ts'
import type { FederationChannel, Neighbour } from '../channel.ts'
import { Neighbours, type NeighboursOptions } from './neighbours.ts'
import type { StreamEvents, Trunk, TrunkStream } from './trunk.ts'

export const REALM = 'example'

/** Keys with names: the same every time; `low` sorts before `high`. */
export async function serverKeys(): Promise<{ low: SigningKey; high: SigningKey; stranger: SigningKey }> {
  const keys = await Promise.all([1, 2, 3].map(promptKey))
  const [low, high, stranger] = keys.sort((a, b) => (byteKey(a.publicKey) < byteKey(b.publicKey) ? -1 : 1))
  return { low, high, stranger } as { low: SigningKey; high: SigningKey; stranger: SigningKey }
}

/** A key that signs in place: nothing of a test waits for a thread pool, so virtual time is all the time there is. */
export async function promptKey(seed: number): Promise<SigningKey> {
  const bytes = new Uint8Array(32).fill(seed)
  const { publicKey } = await signingKeyFromSeed(bytes)
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytes])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return { publicKey, sign: async (message) => new Uint8Array(sign(null, message, privateKey)) }
}

/** A channel that notes what happens to it, and sends what it is given. */
export class NotedChannel implements FederationChannel {
  readonly events: string[] = []
  readonly received: Frame[] = []
  readonly errors: (ErrorReason | undefined)[] = []
  readonly up_: Neighbour[] = []
  outgoing: Frame[] = []
  /** Thrown at the next frame. */
  objection: MeshError | undefined

  up(neighbour: Neighbour): void {
    this.events.push('up')
    this.up_.push(neighbour)
  }

  receive(_server: ByteKey, frame: Frame): void {
    this.received.push(frame)
    if (this.objection !== undefined) throw this.objection
  }

  next(): Frame | undefined {
    return this.outgoing.shift()
  }

  down(_server: ByteKey, error: MeshError | undefined): void {
    this.events.push('down')
    this.errors.push(error?.reason)
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up'
  }
}

export interface TestServerOptions extends Partial<Omit<NeighboursOptions, 'limits'>> {
  readonly key: SigningKey
  readonly trunk: Trunk
  readonly clock: Clock
  readonly limits?: Partial<ServerLimits>
}

/** One server's side of the federation, with channels that note everything. */
export class TestServer {
  readonly directory = new NotedChannel()
  readonly messages = new NotedChannel()
  readonly logged: (LogFields & { readonly event: string })[] = []
  readonly neighbours: Neighbours
  epoch = 1n

  constructor({ limits, ...options }: TestServerOptions) {
    this.neighbours = new Neighbours({
      realm: REALM,
      addresses: [],
      allowed: new Set(),
      hello: () => ({ epoch: this.epoch, have: [] }),
      channels: { directory: this.directory, messages: this.messages },
      limits: resolveLimits(limits),
      random: seededRandom(options.key.publicKey[0] as number),
      log: (_level, event, fields) => this.logged.push({ event, ...fields }),
      verify: nodeVerify,
      ...options,
    })
  }

  get isUp(): boolean {
    return this.directory.isUp && this.messages.isUp
  }

  /** Hands a frame to the directory channel for the other server. */
  send(to: SigningKey, ...frames: Frame[]): void {
    this.directory.outgoing.push(...frames)
    this.neighbours.wake(Channel.DIRECTORY, byteKey(to.publicKey))
  }

  eventNames(): string[] {
    return this.logged.map(({ event }) => event)
  }
}

/** The far end of a stream that says what a test wants it to. */
export class RawServer implements StreamEvents {
  readonly key: SigningKey
  readonly frames: Frame[] = []
  closed: { readonly error: MeshError | undefined } | undefined
  stream: TrunkStream | undefined

  constructor(key: SigningKey) {
    this.key = key
  }

  onFrames(frames: readonly Frame[]): void {
    this.frames.push(...frames)
  }

  onDrain(): void {}

  onClose(error: MeshError | undefined): void {
    this.closed = { error }
  }

  say(...frames: Frame[]): void {
    this.stream?.write(frames)
  }

  hello(change: Partial<Omit<Hello, '$typeName' | '$unknown'>> = {}): void {
    const value = create(HelloSchema, {
      version: 1,
      serverKey: this.key.publicKey,
      realm: REALM,
      channel: Channel.DIRECTORY,
      epoch: 5n,
      challenge: new Uint8Array(32).fill(5),
      limits: { recordsPerSecond: 1_000, messagesPerSecond: 1_000, maxRequestBytes: 1_048_576 },
      credit: 100,
      ...change,
    })
    this.say(create(FrameSchema, { frame: { case: 'hello', value } }))
  }

  /** The proof that answers the Hello received, with changes. */
  async proof(change: Partial<NodeProofFields> = {}, key: SigningKey = this.key): Promise<Frame> {
    const { challenge, serverKey: peerServerKey } = this.heard('hello') as Hello
    const fields = { challenge, peerServerKey, realm: REALM, channel: Channel.DIRECTORY, epoch: 5n, ...change }
    return create(FrameSchema, { frame: { case: 'proof', value: { proof: await signNodeProof(key, fields) } } })
  }

  /** The value of the last frame of a kind. */
  heard(kind: NonNullable<Frame['frame']['case']>): unknown {
    return this.frames.findLast(({ frame }) => frame.case === kind)?.frame.value
  }

  get kinds(): (string | undefined)[] {
    return this.frames.map(({ frame }) => frame.case)
  }

  /** The error in the Goaway received; undefined when none came or it was quiet. */
  get goaway(): MeshError | undefined {
    const goaway = this.heard('goaway') as { error?: Parameters<typeof MeshError.fromDetail>[0] } | undefined
    return goaway?.error && MeshError.fromDetail(goaway.error)
  }
}

export const creditFrame = (frames: number): Frame =>
  create(FrameSchema, { frame: { case: 'credit', value: { frames } } })

/** A data frame of the directory that can be told apart. */
export const stateFrame = (headSeq: number): Frame =>
  create(FrameSchema, { frame: { case: 'originState', value: { headSeq: BigInt(headSeq) } } })

export const rowsFrame = (rows: number, stateBytes = 100): Frame => {
  const row = { topic: new Uint8Array(32), peerKey: new Uint8Array(32), record: { record: new Uint8Array(stateBytes) } }
  return create(FrameSchema, { frame: { case: 'rows', value: { rows: Array.from({ length: rows }, () => row) } } })
}

export const headSeqs = (frames: readonly Frame[]): number[] =>
  frames.map(({ frame }) => (frame.case === 'originState' ? Number(frame.value.headSeq) : -1))

export const broken = (reason: ErrorReason = ErrorReason.ORIGIN_FORGED): MeshError => new MeshError(reason, 'broken')
