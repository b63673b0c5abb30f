import type { Clock, Timer } from '@mesh/core'

/**
 * The flight this side has sent last (RFC 6347 section 4.2.4), repeated until the peer answers, and again when the peer shows
 * that it did not get it.
 */
export interface DtlsFlightOptions {
  readonly clock: Clock
  readonly send: (datagram: Buffer) => void
  /** The peer did not answer in all the time it was given. */
  readonly onExhausted: () => void
}

export class DtlsFlight {
  readonly #options: DtlsFlightOptions
  #datagrams: readonly Buffer[] = []
  #timer: Timer | undefined
  #attempts = 0
  #repeats = 0
  #sentAtMs = 0

  constructor(options: DtlsFlightOptions) {
    this.#options = options
  }

  /** Sends a new flight in place of the one before. `untilAnswered`: with repetition; the last flight of all has no answer. */
  begin(records: readonly Buffer[], untilAnswered: boolean): void {
    this.stopRepeating()
    this.#datagrams = pack(records)
    this.#attempts = 0
    this.#sendAll()
    if (untilAnswered) this.#schedule()
  }

  /**
   * The peer repeats a flight we answered: our answer was lost. Bounded in number, because repeats may be forged, and in rate,
   * because two sides that answer each other's repeats would not stop.
   */
  repeat(): void {
    if (this.#options.clock.monotonicMs() - this.#sentAtMs < FIRST_REPEAT_MS / 2 || !this.mayRepeat) return
    this.#repeats += 1
    this.#sendAll()
  }

  get mayRepeat(): boolean {
    return this.#repeats < MAX_REPEATS
  }

  /** The peer has answered for good. `repeat` still works. */
  stopRepeating(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Forgets the flight. */
  end(): void {
    this.stopRepeating()
    this.#datagrams = []
  }

  #sendAll(): void {
    this.#sentAtMs = this.#options.clock.monotonicMs()
    for (const datagram of this.#datagrams) this.#options.send(datagram)
  }

  #schedule(): void {
    const delayMs = Math.min(FIRST_REPEAT_MS * 2 ** this.#attempts, LONGEST_REPEAT_MS)
    this.#timer = this.#options.clock.schedule(delayMs, () => {
      this.#attempts += 1
      if (this.#attempts > MAX_ATTEMPTS) {
        this.#options.onExhausted()
        return
      }
      this.#sendAll()
      this.#schedule()
    })
  }
}

/** Puts records into as few datagrams as fit, so that a flight is lost as a whole or not at all. */
function pack(records: readonly Buffer[]): Buffer[] {
  const datagrams: Buffer[] = []
  for (const record of records) {
    const last = datagrams.at(-1)
    if (last !== undefined && last.length + record.length <= MAX_DATAGRAM_BYTES) {
      datagrams[datagrams.length - 1] = Buffer.concat([last, record])
    } else datagrams.push(record)
  }
  return datagrams
}

/** 1,200 bytes: what WebRTC sends per datagram everywhere (an IPv6 minimum MTU of 1,280 less 80 for headers and TURN). */
const MAX_DATAGRAM_BYTES = 1200
/** 0.2 + 0.4 + 0.8 + 1.6 + 6 × 3.2 = 22 s of trying; ICE has just shown that the path works, so the first repeat is early. */
const FIRST_REPEAT_MS = 200
const LONGEST_REPEAT_MS = 3200
const MAX_ATTEMPTS = 9
/** A peer repeats a flight fewer than ten times; twice that leaves room for reordering. */
const MAX_REPEATS = 20
