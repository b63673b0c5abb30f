import { Code, ConnectError } from '@connectrpc/connect'
import { type Clock, ErrorReason, MeshError, type Timer } from '@mesh/core'
import type { Frame } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { StreamEvents, TrunkStream } from './trunk.ts'

/** One call as its transport carries it: what a stream writes to. What comes back goes to the methods of the stream. */
export interface CallPort {
  /** False: wait for `drained`. @throws MeshError LIMIT_EXCEEDED federation_max_queue_bytes, when nobody waited. */
  write(frames: readonly Frame[]): boolean
  /** Ends this direction after what was written; answered by `sent`, when that is possible. Called once. */
  end(error: MeshError | undefined): void
  /** Cuts the transport, whatever its state. Idempotent. */
  cut(): void
  /** The other side proved who it is. */
  proven(): void
  /** Nothing more comes. */
  received(): void
  readonly rttMs: number | undefined
}

export interface CallStreamOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  /** What it means when a transport failed without a cause underneath: bytes that are no message, as far as it can tell. */
  readonly malformed: ErrorReason
}

/** One call, seen from either side and over whichever transport: its two directions, and their ends. */
export class CallStream implements TrunkStream {
  /** Resolves when both directions are over, or were cut. */
  readonly ended: Promise<void>
  readonly #options: CallStreamOptions
  #port: CallPort | undefined
  #resolveEnded: () => void = () => {}
  #events: StreamEvents | undefined
  #cut: Timer | undefined
  #closed = false
  #failure: MeshError | undefined
  #isSent = false
  #isReceived = false

  constructor(options: CallStreamOptions) {
    this.#options = options
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  /** Names the transport, before anything is written. */
  start(port: CallPort): void {
    this.#port = port
  }

  /** Names who hears of what comes, before anything can. */
  listen(events: StreamEvents): void {
    this.#events = events
  }

  get rttMs(): number | undefined {
    return this.#port?.rttMs
  }

  write(frames: readonly Frame[]): boolean {
    if (this.#closed) return false
    try {
      return this.#port?.write(frames) ?? false
    } catch (overflow) {
      this.#failure = MeshError.from(overflow)
      this.#port?.cut()
      return false
    }
  }

  close(error?: MeshError): void {
    if (this.#closed) return
    this.#closed = true
    const { clock, limits } = this.#options
    // The other side may not read, or not end what it began.
    const cut = (): void => {
      this.#port?.cut()
      this.#resolveEnded()
    }
    this.#cut = clock.schedule(limits.streamEndMs, cut, { keepAlive: true })
    this.#port?.end(error)
  }

  proven(): void {
    this.#port?.proven()
  }

  /** A message came. False: nothing more is taken. */
  receive(frames: readonly Frame[]): boolean {
    if (this.#isReceived) return false
    try {
      this.#events?.onFrames(frames)
    } catch (thrown) {
      this.received(thrown)
    }
    return !this.#isReceived
  }

  /** The transport took what was waiting. */
  drained(): void {
    if (!this.#isReceived) this.#events?.onDrain()
  }

  /** This side's direction is over. */
  sent(): void {
    this.#isSent = true
    this.#settle()
  }

  /** Nothing more comes, for that reason if there is one. Only the first time counts. */
  received(thrown?: unknown): void {
    if (this.#isReceived) return
    this.#isReceived = true
    const error = thrown === undefined ? undefined : meshErrorOf(thrown, this.#options.malformed)
    const endedHere = this.#closed
    this.close(error)
    this.#port?.received()
    this.#settle()
    this.#events?.onClose(endedHere ? undefined : (this.#failure ?? error))
    this.#events = undefined
  }

  #settle(): void {
    if (!this.#isSent || !this.#isReceived) return
    this.#cut?.cancel()
    this.#resolveEnded()
  }
}

/** Why a call ended that nobody ended. */
export function lost(): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, 'the connection was closed')
}

/** What a failed call means. Without a typed detail it is a matter of the line, except for codes that say more. */
function meshErrorOf(thrown: unknown, onMalformed: ErrorReason): MeshError {
  if (thrown instanceof MeshError) return thrown
  const error = ConnectError.from(thrown)
  const [detail] = error.findDetails(ErrorDetailSchema)
  if (detail !== undefined) return MeshError.fromDetail(detail, error.rawMessage)
  const malformed = error.code === Code.Internal && error.cause === undefined
  const reason = malformed ? onMalformed : (REASONS.get(error.code) ?? ErrorReason.UNREACHABLE)
  return new MeshError(reason, error.rawMessage, { cause: thrown })
}

const REASONS: ReadonlyMap<Code, ErrorReason> = new Map([
  [Code.InvalidArgument, ErrorReason.INVALID_ARGUMENT],
  [Code.ResourceExhausted, ErrorReason.LIMIT_EXCEEDED],
  [Code.Unimplemented, ErrorReason.NOT_SUPPORTED],
])
