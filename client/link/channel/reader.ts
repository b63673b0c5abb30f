import { ErrorReason, MeshError } from '@mesh/core'
import { Waiters } from '../waiters.ts'
import type { ChannelMachine } from './channel-machine.ts'

// How an application takes what a channel received: by asking (receiveMessage, messages, readable), or by being told
// (onMessage). Either way the channel's credit renews only as it takes, so a slow reader slows the sender down.

/** Calls of `next` that may wait at once. */
const MAX_WAITING = 64

/** Called with each message or chunk, in order. The next one waits for a returned promise. */
export type Listener = (bytes: Uint8Array) => void | Promise<void>

export class Reader {
  readonly #machine: ChannelMachine
  readonly #waiting = new Waiters<Uint8Array | undefined>()
  #listener: Listener | undefined
  /** The listener's promise is pending, or it is being called. */
  #busy = false

  constructor(machine: ChannelMachine) {
    this.#machine = machine
  }

  /**
   * The next message or chunk; undefined when the other side has ended and everything was read.
   * @throws MeshError ABORTED, without losing anything; the channel's error; INVALID_ARGUMENT next to a listener;
   *   LIMIT_EXCEEDED when 64 calls wait
   */
  next(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.#listener !== undefined) return Promise.reject(oneReader())
    if (signal?.aborted) return Promise.reject(MeshError.from(signal.reason))
    if (this.#waiting.length === 0) {
      const bytes = this.#machine.take()
      if (bytes !== undefined) return Promise.resolve(bytes)
      if (this.#machine.error !== undefined) return Promise.reject(this.#machine.error)
      if (this.#machine.inbox.ended) return Promise.resolve(undefined)
    }
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(
        new MeshError(ErrorReason.LIMIT_EXCEEDED, `${MAX_WAITING} reads of the channel wait already`),
      )
    }
    return this.#waiting.wait(signal)
  }

  /** @throws MeshError INVALID_ARGUMENT when the channel has a reader already */
  listen(listener: Listener): void {
    if (this.#listener !== undefined || this.#waiting.length > 0) throw oneReader()
    this.#listener = listener
    this.changed()
  }

  /** Something arrived, or the channel ended. */
  changed(): void {
    if (this.#listener !== undefined) {
      this.#tell(this.#listener)
      return
    }
    while (this.#waiting.length > 0) {
      const bytes = this.#machine.take()
      if (bytes === undefined) break
      this.#waiting.resolveFirst(bytes)
    }
    const { error, inbox } = this.#machine
    if (error === undefined && !inbox.ended) return
    if (error === undefined) this.#waiting.resolveAll(undefined)
    else this.#waiting.rejectAll(error)
  }

  #tell(listener: Listener): void {
    if (this.#busy) return
    this.#busy = true
    try {
      for (let bytes = this.#machine.take(); bytes !== undefined; bytes = this.#machine.take()) {
        const pending = listener(bytes)
        if (pending === undefined) continue
        pending.then(
          () => this.#resume(listener),
          (error) => this.#refuse(error),
        )
        return
      }
    } catch (error) {
      this.#refuse(error)
    }
    this.#busy = false
  }

  #resume(listener: Listener): void {
    this.#busy = false
    this.#tell(listener)
  }

  /** A listener that throws cannot be trusted with the next message: the other side learns that this one failed. */
  #refuse(error: unknown): void {
    this.#machine.reset(MeshError.from(error))
  }
}

function oneReader(): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, 'The channel has a reader already')
}
