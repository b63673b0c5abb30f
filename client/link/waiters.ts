import { MeshError } from '@mesh/core'

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: MeshError) => void
}

/** Calls that wait for something of a link, in order; whoever aborts leaves the line. */
export class Waiters<T> {
  #waiting: Waiting<T>[] = []

  get length(): number {
    return this.#waiting.length
  }

  /** @throws MeshError ABORTED; the error given to `rejectAll` */
  wait(signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) return Promise.reject(MeshError.from(signal.reason))
    return new Promise((resolve, reject) => {
      const done = (): void => signal?.removeEventListener('abort', abort)
      const waiting: Waiting<T> = {
        resolve: (value) => {
          done()
          resolve(value)
        },
        reject: (error) => {
          done()
          reject(error)
        },
      }
      const abort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting)
        waiting.reject(MeshError.from(signal?.reason))
      }
      signal?.addEventListener('abort', abort)
      this.#waiting.push(waiting)
    })
  }

  /** Answers the one that has waited longest, if there is one. */
  resolveFirst(value: T): void {
    this.#waiting.shift()?.resolve(value)
  }

  resolveAll(value: T): void {
    for (const waiting of this.#waiting.splice(0)) waiting.resolve(value)
  }

  rejectAll(error: MeshError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }
}
