import { create } from '@bufbuild/protobuf'
import type { ErrorDetail } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { ErrorDetailSchema, ErrorReason } from '@mesh/protocol/mesh/signal/v1/error_pb'

export { ErrorReason }

/** Facts of an error that a program can act on. Units are those of the named limit. */
export interface MeshErrorOptions {
  /** Wire name of the limit that was hit, for example `max_message_bytes`. */
  limit?: string
  /** The limit itself. */
  limitValue?: number | bigint
  /** What was found: the offending size, count, seq or session order. */
  value?: number | bigint
  /** Wait at least this long, in milliseconds, before trying again. Default 0: not known. */
  retryAfterMs?: number
  /**
   * Whether the same call may succeed later without being changed. Default: true when `retryAfterMs` is given or the
   * reason is one that passes by itself (draining, unreachable, absent recipient, deadline).
   */
  retryable?: boolean
  /** What went wrong underneath. For logs only; never sent. */
  cause?: unknown
}

/** Reasons that name a passing state: the same call may succeed later. */
const PASSING: ReadonlySet<number> = new Set<number>([
  ErrorReason.DRAINING,
  ErrorReason.UNREACHABLE,
  ErrorReason.DEADLINE_EXCEEDED,
  ErrorReason.RECIPIENT_ABSENT,
  ErrorReason.RECIPIENT_TIMEOUT,
  ErrorReason.RECIPIENT_SLOW,
  ErrorReason.LINK_TIMEOUT,
  ErrorReason.PEER_ASLEEP,
])

const REASON_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(ErrorReason).map(([name, value]) => [value, name]),
)

/**
 * The one error type. Decide on `reason` and `retryable`; `message` is for people.
 * Mirrors `mesh.signal.v1.ErrorDetail`, which is how it crosses the wire.
 */
export class MeshError extends Error {
  readonly reason: ErrorReason
  readonly limit: string | undefined
  readonly limitValue: bigint | undefined
  readonly value: bigint | undefined
  /** Milliseconds; 0 when not known. */
  readonly retryAfterMs: number
  readonly retryable: boolean

  constructor(reason: ErrorReason, message: string, options: MeshErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'MeshError'
    this.reason = reason
    this.limit = options.limit
    this.limitValue = options.limitValue === undefined ? undefined : BigInt(options.limitValue)
    this.value = options.value === undefined ? undefined : BigInt(options.value)
    this.retryAfterMs = options.retryAfterMs ?? 0
    this.retryable = options.retryable ?? (this.retryAfterMs > 0 || PASSING.has(reason))
  }

  /** The reason as text, for example `RECORD_STALE`; `UNKNOWN_<number>` for a reason newer than this code. */
  get reasonName(): string {
    return REASON_NAMES.get(this.reason) ?? `UNKNOWN_${this.reason}`
  }

  /** The error as it is sent. Message and cause stay behind. */
  toDetail(): ErrorDetail {
    return create(ErrorDetailSchema, {
      reason: this.reason,
      limit: this.limit ?? '',
      limitValue: this.limitValue ?? 0n,
      value: this.value ?? 0n,
      retryAfterMs: BigInt(Math.ceil(this.retryAfterMs)),
      retryable: this.retryable,
    })
  }

  /** An error as received. Zero values of the detail mean "not given". */
  static fromDetail(detail: ErrorDetail, message?: string): MeshError {
    const name = REASON_NAMES.get(detail.reason) ?? `UNKNOWN_${detail.reason}`
    return new MeshError(detail.reason, message ?? `The other side answered ${name}`, {
      ...(detail.limit === '' ? {} : { limit: detail.limit, limitValue: detail.limitValue }),
      ...(detail.value === 0n ? {} : { value: detail.value }),
      // Bounded so that a hostile detail cannot leave the range of safe integers.
      retryAfterMs: Number(detail.retryAfterMs > MAX_RETRY_AFTER_MS ? MAX_RETRY_AFTER_MS : detail.retryAfterMs),
      retryable: detail.retryable,
    })
  }

  /**
   * Any thrown value as a MeshError: itself when it is one, `ABORTED` for an AbortError, `DEADLINE_EXCEEDED` for a
   * TimeoutError (`AbortSignal.timeout`), else `INTERNAL` with the value as cause.
   */
  static from(error: unknown): MeshError {
    if (error instanceof MeshError) return error
    const name = error instanceof Error || error instanceof DOMException ? error.name : ''
    if (name === 'AbortError') return new MeshError(ErrorReason.ABORTED, 'The caller aborted', { cause: error })
    if (name === 'TimeoutError') {
      return new MeshError(ErrorReason.DEADLINE_EXCEEDED, 'The deadline passed', { cause: error })
    }
    const text = error instanceof Error ? error.message : String(error)
    return new MeshError(ErrorReason.INTERNAL, `Unexpected failure: ${text}`, { cause: error })
  }
}

/** One day: longer advice to wait is of no use to anybody. */
const MAX_RETRY_AFTER_MS = 86_400_000n
