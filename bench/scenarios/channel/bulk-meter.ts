/** Times a bulk transfer at its receiving end, from the first piece to the last. */
export class BulkMeter {
  #remainingBytes = 0
  #startedMs: number | undefined
  #finished: Promise<number> | undefined
  #finish: (elapsedMs: number) => void = () => {}

  /** Arms the meter for one transfer. */
  expect(totalBytes: number): void {
    this.#remainingBytes = totalBytes
    this.#startedMs = undefined
    this.#finished = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  receive(bytes: number): void {
    this.#startedMs ??= performance.now()
    this.#remainingBytes -= bytes
    if (this.#remainingBytes <= 0) this.#finish(performance.now() - this.#startedMs)
  }

  /** Milliseconds the transfer took; waits for its last piece. Throws when nothing is expected. */
  finished(): Promise<number> {
    if (!this.#finished) throw new Error('no transfer is expected')
    return this.#finished
  }
}
