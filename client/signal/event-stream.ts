import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import type { Event, ExchangeRequest, ExchangeResponse } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { abortError } from '../delay.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { Outbox } from './outbox.ts'
import type { SignalCalls, SignalSession } from './session.ts'

/**
 * One stream of a session, from open to end, in the two forms the transports allow:
 *
 *  - Exchange, where bidirectional streams work: events and outcomes in, envelopes and acknowledgements out.
 *  - Subscribe for events beside SendMessage for batches of envelopes, two batches on their way at a time: the second does not
 *    wait for the answer to the first. Whoever needs order has it in the payload (the link does).
 *
 * A stream on which nothing arrives for two and a half heartbeats is dead (a frozen server, a lost NAT binding), whatever the
 * socket says. Both forms reject when the stream ends, for whatever reason; the caller decides whether to come back.
 */
export interface StreamContext {
  readonly calls: SignalCalls
  readonly session: SignalSession
  readonly outbox: Outbox
  readonly clock: Clock
  readonly origin: string
  /** Events after this one. */
  readonly cursor: bigint
  readonly onEvents: (events: readonly Event[]) => void
  /** Something came, if only a heartbeat. */
  readonly onAlive: () => void
  readonly signal: AbortSignal
}

const HEARTBEATS_UNTIL_DEAD = 2.5
const SEND_TIMEOUT_MS = 10_000
/** With Subscribe that makes three of the six connections a browser opens to one HTTP/1.1 origin. */
const SENDS_IN_FLIGHT = 2

/** A stream without a byte for this long is dead. */
export function deadAfter(session: SignalSession): number {
  return session.heartbeatMs * HEARTBEATS_UNTIL_DEAD
}

export function authorization(session: SignalSession): Record<string, string> {
  return { authorization: `Bearer ${session.token}` }
}

/** Runs Exchange until it ends. */
export function runExchange(context: StreamContext): Promise<never> {
  return supervised(context, async (signal, alive) => {
    const { calls, session, outbox, clock, cursor } = context
    const acknowledgements = new Acknowledgements(clock, cursor, () => outbox.wake())
    try {
      const requests = outgoing(context, acknowledgements, signal)
      const stream = calls.exchange(requests, { headers: authorization(session), signal })
      for await (const response of stream as AsyncIterable<ExchangeResponse>) {
        alive()
        for (const outcome of response.outcomes) outbox.settle(outcome.id, outcome.status, outcome.error)
        if (response.events.length === 0) continue
        context.onEvents(response.events)
        acknowledgements.handled(response.events)
      }
      throw streamEnded(context)
    } finally {
      acknowledgements.stop()
    }
  })
}

async function* outgoing(
  { outbox, cursor }: StreamContext,
  acknowledgements: Acknowledgements,
  signal: AbortSignal,
): AsyncGenerator<Pick<ExchangeRequest, 'cursor' | 'envelopes' | 'acknowledged'>> {
  yield { cursor, envelopes: [], acknowledged: cursor }
  while (!signal.aborted) {
    await outbox.ready(signal, () => acknowledgements.due)
    const envelopes = outbox.take() as unknown as ExchangeRequest['envelopes']
    if (envelopes.length === 0 && !acknowledgements.due) continue
    yield { cursor: 0n, envelopes, acknowledged: acknowledgements.take() }
  }
}

/** Runs Subscribe and the SendMessage loop beside it until either ends. */
export function runSubscribe(context: StreamContext): Promise<never> {
  return supervised(context, async (signal, alive) => {
    const stream = context.calls.subscribe(
      { cursor: context.cursor },
      { headers: authorization(context.session), signal },
    )
    const events = (async () => {
      for await (const response of stream) {
        alive()
        context.onEvents(response.events)
      }
      throw streamEnded(context)
    })()
    const loops = Array.from({ length: SENDS_IN_FLIGHT }, () => sendLoop(context, signal))
    return Promise.race([events, ...loops])
  })
}

async function sendLoop({ outbox, calls, session }: StreamContext, signal: AbortSignal): Promise<never> {
  for (;;) {
    await outbox.ready(signal)
    const envelopes = outbox.take()
    if (envelopes.length === 0) continue
    const options = { headers: authorization(session), signal, timeoutMs: SEND_TIMEOUT_MS }
    const { outcomes } = await calls.sendMessage({ envelopes }, options)
    for (const outcome of outcomes) outbox.settle(outcome.id, outcome.status, outcome.error)
    // An envelope the answer does not mention must not wait for ever.
    for (const { id } of envelopes) outbox.settle(id, OutcomeStatus.REFUSED, undefined)
  }
}

function streamEnded({ origin }: StreamContext): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, `${origin} ended the stream`, { retryable: true })
}

/** Gives the work an abort signal of its own, and a watchdog that pulls it. */
async function supervised(
  { clock, session, origin, signal, onAlive }: StreamContext,
  work: (signal: AbortSignal, alive: () => void) => Promise<never>,
): Promise<never> {
  const abort = new AbortController()
  const onAbort = () => abort.abort(abortError(signal))
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  const deadAfterMs = deadAfter(session)
  const onSilence = () => {
    const message = `${origin} was silent for ${deadAfterMs} ms`
    abort.abort(new MeshError(ErrorReason.UNREACHABLE, message, { retryable: true }))
  }
  let watchdog = clock.schedule(deadAfterMs, onSilence)
  const alive = () => {
    onAlive()
    watchdog.cancel()
    watchdog = clock.schedule(deadAfterMs, onSilence)
  }
  try {
    return await work(abort.signal, alive)
  } catch (error) {
    throw abort.signal.aborted ? abortError(abort.signal) : error
  } finally {
    watchdog.cancel()
    signal.removeEventListener('abort', onAbort)
    abort.abort()
  }
}
