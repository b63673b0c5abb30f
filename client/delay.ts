import { type Clock, ErrorReason, MeshError } from '@mesh/core'

/** What an aborted wait rejects with: the signal's own MeshError, or ABORTED with the signal's reason as cause. */
export function abortError(signal: AbortSignal): MeshError {
  return signal.reason instanceof MeshError
    ? signal.reason
    : new MeshError(ErrorReason.ABORTED, 'the caller aborted', { cause: signal.reason })
}

/** Resolves after `delayMs` on the clock, keeping Node alive meanwhile. Rejects with `abortError` when aborted first. */
export function delay(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal))
    const timer = clock.schedule(
      delayMs,
      () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      },
      { keepAlive: true },
    )
    const onAbort = () => {
      timer.cancel()
      reject(abortError(signal))
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Settles like `promise`, or rejects with `abortError` as soon as the signal aborts; the work itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    // Listened to even when aborted already: its failure would otherwise be an unhandled rejection.
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
