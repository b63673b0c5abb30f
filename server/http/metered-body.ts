import type { Clock, Timer } from '@mesh/core'
import { ErrorReason, MeshError } from '@mesh/core'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'

export interface MeterOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  /** Messages have a five byte prefix (gRPC, gRPC-Web, Connect streams). */
  readonly framed: boolean
  /** Many messages may come, each within the limits; otherwise the whole body is one. */
  readonly endless: boolean
  /** The content-length header. */
  readonly declaredBytes: number | undefined
  /** Whether the sender is a server that proved itself: `federation_max_request_bytes` hold for it, and its line may be slow. */
  readonly isNeighbour?: () => boolean
}

/** gRPC and Connect framing: flags and u32 length. */
const PREFIX_BYTES = 5

/**
 * Enforces size and time of a request body while it is read: `max_request_bytes` for the body, or for each message of an
 * endless one; `http2_body_ms` from its start, absolute, so that trickling does not help. In an endless body the time runs
 * until the first message is complete, and then whenever one has begun. A neighbour's pings bound its time.
 */
export class BodyMeter {
  readonly #options: MeterOptions
  readonly #prefix = new Uint8Array(PREFIX_BYTES)
  #prefixBytes = 0
  #messageLeft = 0
  #total = 0
  #startedMs: number | undefined

  constructor(options: MeterOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonicMs()
  }

  /** Checks what is known before the first byte. @throws MeshError LIMIT_EXCEEDED (max_request_bytes). */
  start(): void {
    const { declaredBytes, endless } = this.#options
    if (!endless && declaredBytes !== undefined) this.#checkSize(declaredBytes)
  }

  /** Counts a chunk. @throws MeshError LIMIT_EXCEEDED (max_request_bytes, federation_max_request_bytes). */
  count(chunk: Uint8Array): void {
    const { framed, endless } = this.#options
    this.#total += chunk.byteLength
    if (!endless) this.#checkSize(this.#total)
    if (framed) this.#countFrames(chunk)
  }

  /** Monotonic time by which more must come; undefined while nothing is owed. */
  get deadlineMs(): number | undefined {
    const { limits, isNeighbour } = this.#options
    if (this.#startedMs === undefined || isNeighbour?.() === true) return undefined
    return this.#startedMs + limits.http2BodyMs
  }

  #countFrames(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength; ) {
      if (this.#messageLeft > 0) {
        const step = Math.min(this.#messageLeft, chunk.byteLength - at)
        this.#messageLeft -= step
        at += step
      } else {
        this.#prefix[this.#prefixBytes++] = chunk[at++] as number
        this.#startedMs ??= this.#options.clock.monotonicMs()
        if (this.#prefixBytes === PREFIX_BYTES) this.#beginMessage()
      }
      if (this.#prefixBytes === 0 && this.#messageLeft === 0 && this.#options.endless) this.#startedMs = undefined
    }
  }

  #beginMessage(): void {
    this.#messageLeft = new DataView(this.#prefix.buffer).getUint32(1)
    this.#prefixBytes = 0
    this.#checkSize(this.#messageLeft)
  }

  #checkSize(bytes: number): void {
    const { limits, framed, endless, isNeighbour } = this.#options
    const name = isNeighbour?.() === true ? 'federationMaxRequestBytes' : 'maxRequestBytes'
    const allowed = limits[name] + (framed && !endless ? PREFIX_BYTES : 0)
    if (bytes > allowed) throw limitError(name, limits[name], { value: bytes })
  }
}

/**
 * The body with a meter on it. Ends with what the meter throws, or DEADLINE_EXCEEDED. `onViolation` is called before: the
 * connection should not be used for another request, as the rest of the body is still to come.
 */
export async function* meterBody(
  body: AsyncIterable<Uint8Array>,
  options: MeterOptions,
  onViolation: () => void,
): AsyncGenerator<Uint8Array> {
  const meter = new BodyMeter(options)
  const source = body[Symbol.asyncIterator]()
  try {
    meter.start()
    for (;;) {
      const next = await withDeadline(source.next(), meter.deadlineMs, options)
      if (next.done === true) return
      meter.count(next.value)
      yield next.value
    }
  } catch (error) {
    if (error instanceof MeshError) onViolation()
    throw error
  }
}

/** The body, or the message that has begun, did not come within `http2_body_ms`. */
export function bodyTooLate(limits: ServerLimits): MeshError {
  const limit = { limit: 'http2_body_ms', limitValue: limits.http2BodyMs }
  return new MeshError(ErrorReason.DEADLINE_EXCEEDED, 'the request body did not arrive in time', limit)
}

function withDeadline<T>(
  promise: Promise<T>,
  deadlineMs: number | undefined,
  { clock, limits }: MeterOptions,
): Promise<T> {
  if (deadlineMs === undefined) return promise
  let timer: Timer | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = clock.schedule(deadlineMs - clock.monotonicMs(), () => reject(bodyTooLate(limits)))
  })
  return Promise.race([promise, late]).finally(() => timer?.cancel())
}
