import type { Interceptor } from '@connectrpc/connect'
import { Code } from '@connectrpc/connect'
import type { Logger } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { toConnectError } from './errors.ts'

/** Turns whatever a handler throws into the error the client may see, and counts how calls end. */
export function errorMapping(log: Logger, metrics: Metrics): Interceptor {
  const failed = (thrown: unknown): Error => {
    const error = toConnectError(thrown, log)
    metrics.calls.add(error.code === Code.Internal || error.code === Code.Unknown ? 'failed' : 'refused')
    return error
  }
  return (next) => async (request) => {
    try {
      const response = await next(request)
      if (response.stream) return { ...response, message: mapFailures(response.message, failed, metrics) }
      metrics.calls.add('ok')
      return response
    } catch (thrown) {
      throw failed(thrown)
    }
  }
}

async function* mapFailures<T>(
  messages: AsyncIterable<T>,
  failed: (thrown: unknown) => Error,
  metrics: Metrics,
): AsyncGenerator<T> {
  try {
    yield* messages
    metrics.calls.add('ok')
  } catch (thrown) {
    throw failed(thrown)
  }
}
