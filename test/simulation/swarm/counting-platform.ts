import type { Transport } from '@connectrpc/connect'
import type { Platform } from '@mesh/client'

/** What one peer and its server said to each other. */
export interface Traffic {
  /** Calls, and messages on streams, by the peer. */
  sent: number
  /** Answers, and messages on streams, by the server. */
  received: number
}

/** A platform that counts every message to and from the server. */
export function counting(platform: Platform): { platform: Platform; traffic: Traffic } {
  const traffic: Traffic = { sent: 0, received: 0 }
  return {
    traffic,
    platform: {
      ...platform,
      connect: (origin) => {
        const inner = platform.connect(origin)
        return { ...inner, transport: counted(inner.transport, traffic) }
      },
    },
  }
}

function counted(transport: Transport, traffic: Traffic): Transport {
  async function* count<T>(messages: AsyncIterable<T>, direction: keyof Traffic): AsyncIterable<T> {
    for await (const message of messages) {
      traffic[direction]++
      yield message
    }
  }
  return {
    async unary(...call) {
      traffic.sent++
      const response = await transport.unary(...call)
      traffic.received++
      return response
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const response = await transport.stream(method, signal, timeoutMs, header, count(input, 'sent'), contextValues)
      return { ...response, message: count(response.message, 'received') }
    },
  }
}
