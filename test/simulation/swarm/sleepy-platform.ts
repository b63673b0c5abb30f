import { Code, ConnectError, type Transport } from '@connectrpc/connect'
import type { Platform } from '@mesh/client'
import { watchForGaps } from '../../../client/lifecycle.ts'
import type { MemoryConnection } from '../../../client/testing/memory-rtc.ts'
import { type Sleep, SleepyClock } from '../sleepy-clock.ts'

/**
 * A platform for one peer whose machine can be put to sleep: nothing of it runs meanwhile. What comes to a stopped process waits
 * in its sockets; the connections of a suspended machine to the server are dead without a word after a while: calls over them
 * hang until they are let go. Data channels do not survive a long sleep of either kind, and nobody tells the sleeper.
 */
export interface SleepyPlatform {
  readonly platform: Platform
  /** Calls made to the server, by name, in order. */
  readonly calls: string[]
  sleep(kind: Sleep): void
  wake(): void
}

/** Longer than routers remember a connection, or peers wait for a data channel. */
const LONG_MS = 30_000

export function sleepy(platform: Platform): SleepyPlatform {
  const clock = new SleepyClock(platform.clock)
  const connections: MemoryConnection[] = []
  const calls: string[] = []
  const wires: Wire[] = []
  const events = new HeldEvents(clock)
  const { rtc } = platform
  let kind: Sleep = 'stopped'
  let sinceMs = 0
  return {
    calls,
    sleep: (how) => {
      kind = how
      sinceMs = platform.clock.monotonicMs()
      clock.sleep(kind)
    },
    wake: () => {
      const isLong = platform.clock.monotonicMs() - sinceMs >= LONG_MS
      if (isLong) for (const connection of connections) connection.vanish()
      if (isLong) events.drop()
      if (isLong && kind === 'suspended') for (const wire of wires) wire.cut()
      clock.wake()
      events.release()
    },
    platform: {
      ...platform,
      clock,
      lifecycle: { watch: (listener) => watchForGaps(clock, () => 5_000, listener) },
      rtc: rtc && {
        async create(configuration) {
          const connection = await rtc.create(configuration)
          connections.push(connection as MemoryConnection)
          return events.held(connection)
        },
      },
      connect: (origin) => {
        const inner = platform.connect(origin)
        const wire = new Wire()
        wires.push(wire)
        const transport = throughSleep(inner.transport, clock, wire, (name) => calls.push(name))
        return { ...inner, transport, reset: () => wire.reset() }
      },
    },
  }
}

/** What happens to data channels while their owner sleeps waits for it. */
class HeldEvents {
  readonly #clock: SleepyClock
  #waiting: (() => void)[] = []

  constructor(clock: SleepyClock) {
    this.#clock = clock
  }

  /** The object, with listeners that hear nothing while its owner sleeps. */
  held<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name, object)
        if (typeof value !== 'function') return value
        if (name === 'addEventListener') {
          return (type: string, listener: (event: unknown) => void) =>
            value.call(object, type, (event: unknown) => this.#run(() => listener(event)))
        }
        if (name === 'createDataChannel') return (...given: unknown[]) => this.held(value.apply(object, given))
        return value.bind(object)
      },
      set: (object, name, value) => Reflect.set(object, name, value, object),
    })
  }

  release(): void {
    for (const run of this.#waiting.splice(0)) run()
  }

  drop(): void {
    this.#waiting = []
  }

  #run(listener: () => void): void {
    if (this.#clock.asleep) this.#waiting.push(listener)
    else listener()
  }
}

/** The connection to one server. Once cut, nothing comes by it, no answer and no error, until it is let go. */
class Wire {
  #isDead = false
  #lost = Promise.withResolvers<never>()

  constructor() {
    this.#lost.promise.catch(() => undefined)
  }

  /** Rejects when the connection that is there now is let go. */
  get lost(): Promise<never> {
    return this.#lost.promise
  }

  cut(): void {
    this.#isDead = true
  }

  reset(): void {
    this.#isDead = false
    this.#lost.reject(new ConnectError('connection reset', Code.Unavailable))
    this.#lost = Promise.withResolvers()
    this.#lost.promise.catch(() => undefined)
  }

  /** Resolves at once, or never while the connection is dead. */
  async passable(): Promise<void> {
    if (this.#isDead) await new Promise<never>(() => {})
  }
}

function throughSleep(transport: Transport, clock: SleepyClock, wire: Wire, called: (name: string) => void): Transport {
  /** What comes of `work` when this peer is awake to see it, over the connection there is now. */
  const seen = async <T>(work: Promise<T>, signal: AbortSignal | undefined, lost: Promise<never>): Promise<T> => {
    const outcome = settled(work).then(async (value) => {
      await clock.awake
      await wire.passable()
      return value
    })
    const value = await Promise.race([outcome, lost, aborted(signal)])
    if ('error' in value) throw value.error
    return value.result
  }
  return {
    unary(...call) {
      called(call[0].name)
      return seen(transport.unary(...call), call[1], wire.lost)
    },
    async stream(...call) {
      called(call[0].name)
      const { lost } = wire
      const signal = call[1]
      const response = await seen(transport.stream(...call), signal, lost)
      const message = (async function* () {
        const iterator = response.message[Symbol.asyncIterator]()
        for (;;) {
          const next = await seen(iterator.next(), signal, lost)
          if (next.done) return
          yield next.value
        }
      })()
      return { ...response, message }
    },
  }
}

/** As a value: what fails while nobody listens must not count as unhandled. */
function settled<T>(work: Promise<T>): Promise<{ result: T } | { error: unknown }> {
  return work.then(
    (result) => ({ result }),
    (error: unknown) => ({ error }),
  )
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(new ConnectError('aborted', Code.Canceled))
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
  })
}
