import { MeshError } from '@mesh/core'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: MeshError) => void
}

/** Those who wait until a link has nothing left to deliver. */
export class Drain {
  #waiting: Waiting[] = []

  get waiting(): boolean {
    return this.#waiting.length > 0
  }

  /** @throws MeshError ABORTED; the error given to `fail` */
  wait(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(MeshError.from(signal.reason))
    return new Promise((resolve, reject) => {
      const done = (): void => signal?.removeEventListener('abort', abort)
      const waiting: Waiting = {
        resolve: () => {
          done()
          resolve()
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

  done(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.resolve()
  }

  fail(error: MeshError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }
}
