import type { DeliverySink, RelayLine } from '../../systems/line.ts'

export interface SaturationOptions {
  readonly durationMs: number
  /** Messages per send. */
  readonly batch: number
  /** Messages a line keeps under way at most. */
  readonly window: number
}

export interface SaturationResult {
  readonly messages: number
  /** First send to last delivery. */
  readonly elapsedMs: number
}

export interface PacedOptions {
  readonly durationMs: number
  readonly batch: number
  /** All lines together. */
  readonly messagesPerSecond: number
}

export interface PacedResult {
  readonly messages: number
  /** Ascending, milliseconds from the sender's call to the receiver's callback, both in this process. */
  readonly latenciesMs: Float64Array
}

/** A message that takes longer than this is lost. */
const DRAIN_MS = 5_000

type Phase =
  | { readonly kind: 'idle' }
  | { readonly kind: 'saturating'; readonly batch: number; readonly window: number }
  | { readonly kind: 'pacing' }

/**
 * Puts load on lines, in two shapes: as much as passes with a bounded number of messages under way (closed loop: cost and
 * throughput), and a fixed rate well below that (open loop: latency, and the cost of messages that cannot be coalesced
 * because they do not come together).
 */
export class RelayDriver implements DeliverySink {
  #lines: readonly RelayLine[] = []
  #phase: Phase = { kind: 'idle' }
  #inFlight: number[] = []
  #delivered = 0
  #latencies: number[] = []
  #failure: Error | undefined

  use(lines: readonly RelayLine[]): void {
    this.#lines = lines
  }

  delivered(line: number, sentAtMs: number): void {
    this.#delivered++
    this.#inFlight[line]!--
    if (this.#phase.kind === 'pacing') this.#latencies.push(performance.now() - sentAtMs)
    if (this.#phase.kind === 'saturating') this.#fill(line, this.#phase.batch, this.#phase.window)
  }

  failed(error: Error): void {
    this.#failure ??= error
  }

  async saturate(options: SaturationOptions): Promise<SaturationResult> {
    this.#reset()
    const startedMs = performance.now()
    this.#phase = { kind: 'saturating', batch: options.batch, window: options.window }
    for (let line = 0; line < this.#lines.length; line++) this.#fill(line, options.batch, options.window)
    await wait(options.durationMs)
    this.#phase = { kind: 'idle' }
    await this.#drain()
    return { messages: this.#delivered, elapsedMs: performance.now() - startedMs }
  }

  async paced(options: PacedOptions): Promise<PacedResult> {
    this.#reset()
    this.#phase = { kind: 'pacing' }
    const startedMs = performance.now()
    let sent = 0
    let line = 0
    for (let elapsedMs = 0; elapsedMs < options.durationMs; elapsedMs = performance.now() - startedMs) {
      const due = (elapsedMs / 1000) * options.messagesPerSecond
      while (sent + options.batch <= due) {
        this.#send(line, options.batch)
        line = (line + 1) % this.#lines.length
        sent += options.batch
      }
      await wait(1)
    }
    await this.#drain()
    this.#phase = { kind: 'idle' }
    return { messages: this.#delivered, latenciesMs: Float64Array.from(this.#latencies).sort() }
  }

  #reset(): void {
    this.#inFlight = this.#lines.map(() => 0)
    this.#delivered = 0
    this.#latencies = []
  }

  #fill(line: number, batch: number, window: number): void {
    while (this.#inFlight[line]! + batch <= window) this.#send(line, batch)
  }

  #send(line: number, batch: number): void {
    this.#inFlight[line]! += batch
    this.#lines[line]!.send(batch, performance.now())
  }

  /** Waits until everything sent has arrived; throws when something was refused or lost. */
  async #drain(): Promise<void> {
    const deadlineMs = performance.now() + DRAIN_MS
    while (this.#inFlight.some((count) => count > 0)) {
      if (this.#failure) throw this.#failure
      if (performance.now() > deadlineMs) throw new Error(`lost messages: ${this.#inFlight.join(' ')} still under way`)
      await wait(1)
    }
    if (this.#failure) throw this.#failure
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
