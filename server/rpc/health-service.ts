import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import { type Health, HealthCheckResponse_ServingStatus as Status } from '@mesh/protocol/grpc/health/v1/health_pb'
import { limitError } from '../limits/server-limits.ts'
import type { HealthStatus } from '../ops/health.ts'

export interface HealthServiceOptions {
  readonly health: HealthStatus
  /** Full names of the services that share the server's status. */
  readonly services: readonly string[]
  readonly maxWatches: number
  /** Aborted when the server closes: watches end then. */
  readonly stopped: AbortSignal
}

/** grpc.health.v1.Health. Needs no session, so Watch streams are bounded over all callers. */
export function healthService(options: HealthServiceOptions): ServiceImpl<typeof Health> {
  const known = new Set(['', ...options.services])
  const status = (): Status => (options.health.status === 'serving' ? Status.SERVING : Status.NOT_SERVING)
  return {
    check({ service }) {
      if (!known.has(service)) throw new ConnectError('the service is not known here', Code.NotFound)
      return { status: status() }
    },
    async *watch({ service }, context) {
      if (options.health.watcherCount >= options.maxWatches) {
        throw limitError('maxHealthWatches', options.maxWatches, { retryAfterMs: 1_000 })
      }
      if (!known.has(service)) yield { status: Status.SERVICE_UNKNOWN }
      else for await (const next of changes(status, options, context)) yield { status: next }
    },
  }
}

async function* changes(
  status: () => Status,
  { health, stopped }: HealthServiceOptions,
  context: HandlerContext,
): AsyncGenerator<Status> {
  let wakeUp: () => void = () => {}
  const onChange = (): void => wakeUp()
  const unwatch = health.watch(onChange)
  context.signal.addEventListener('abort', onChange)
  stopped.addEventListener('abort', onChange)
  try {
    for (let said: Status | undefined; ; ) {
      if (said !== status()) {
        said = status()
        yield said
      }
      if (context.signal.aborted || stopped.aborted) return
      if (said === status()) {
        await new Promise<void>((resolve) => {
          wakeUp = resolve
        })
      }
    }
  } finally {
    unwatch()
    context.signal.removeEventListener('abort', onChange)
    stopped.removeEventListener('abort', onChange)
  }
}
