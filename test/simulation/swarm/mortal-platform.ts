import { Code, ConnectError, type Transport } from '@connectrpc/connect'
import type { Platform } from '@mesh/client'
import type { Clock } from '@mesh/core'
import type { MemoryConnection } from '../../../client/testing/memory-rtc.ts'

/** A platform for one peer whose process can be killed: from then on none of its timers run and nothing of it gets out. */
export function mortal(platform: Platform): { platform: Platform; kill: () => void } {
  let alive = true
  const connections: MemoryConnection[] = []
  const clock: Clock = {
    monotonicMs: () => platform.clock.monotonicMs(),
    wallMs: () => platform.clock.wallMs(),
    schedule: (delayMs, run) => platform.clock.schedule(delayMs, () => alive && run()),
  }
  const { rtc } = platform
  const mortalPlatform: Platform = {
    ...platform,
    clock,
    rtc: rtc && {
      async create(configuration) {
        const connection = await rtc.create(configuration)
        connections.push(connection as MemoryConnection)
        return connection
      },
    },
    connect: (origin) => {
      const inner = platform.connect(origin)
      return { ...inner, transport: whileAlive(inner.transport, () => alive) }
    },
  }
  const kill = () => {
    alive = false
    for (const connection of connections) connection.vanish()
  }
  return { platform: mortalPlatform, kill }
}

function whileAlive(transport: Transport, isAlive: () => boolean): Transport {
  const dead = () => Promise.reject(new ConnectError('the process is gone', Code.Unavailable))
  return {
    unary: (...call) => (isAlive() ? transport.unary(...call) : dead()),
    stream: (...call) => (isAlive() ? transport.stream(...call) : dead()),
  }
}
