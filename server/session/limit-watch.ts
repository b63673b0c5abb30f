import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { limitError, type ServerLimits } from '../limits/server-limits.ts'
import { encodeEventBody } from './event-codec.ts'

/** From this share of a limit on its owner is warned, once; and again only after it was below `CALM_SHARE`. */
const WARN_SHARE = 0.75
const CALM_SHARE = 0.5

/**
 * Warns the owner of a session that something fills up which ends a stream, or refuses a call for good, when it is full. Rates
 * are not among them: their refusals say when to try again, and nothing is lost.
 */
export class LimitWatch {
  readonly #name: keyof ServerLimits
  readonly #limit: number
  readonly #warn: (notice: Uint8Array) => boolean
  #warned = false

  /** `warn` takes the body of the notice, and tells whether there was anybody to give it to. */
  constructor(name: keyof ServerLimits, limits: ServerLimits, warn: (notice: Uint8Array) => boolean) {
    this.#name = name
    this.#limit = limits[name]
    this.#warn = warn
  }

  /** To be called whenever `value`, which the limit bounds, has changed. */
  look(value: number): void {
    if (this.#warned) this.#warned = value >= this.#limit * CALM_SHARE
    else if (value >= this.#limit * WARN_SHARE) this.#warned = this.#warn(this.#notice(value))
  }

  #notice(value: number): Uint8Array {
    const detail = limitError(this.#name, this.#limit, { value }).toDetail()
    return encodeEventBody({ case: 'notice', value: { kind: NoticeKind.LIMIT_WARNING, detail } })
  }
}
