import { ErrorReason, toHex } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { SentMessage } from '../clients/messages.ts'
import type { SimClient } from '../clients/sim-client.ts'
import type { SimSession } from '../clients/sim-session.ts'
import type { Writing } from '../faults/tampering.ts'
import { outcomeName } from '../trace.ts'
import type { World } from '../world.ts'
import { HopCheck } from './hop-check.ts'

/** I7, I9 and I10, and what I5 and I8 are for messages. */
export class MessageCheck {
  readonly #world: World
  readonly #hops: HopCheck
  /** DELIVERED, but the recipient has a session that it does not read at the moment. */
  readonly #doubtful = new Set<SentMessage>()

  constructor(world: World) {
    this.#world = world
    this.#hops = new HopCheck(world)
  }

  onFrames(writing: Writing): void {
    this.#hops.onFrames(writing)
  }

  onRead(id: ByteKey, client: SimClient, session: SimSession): void {
    const { messages } = this.#world
    const where = `server ${session.process.index}: client ${client.index}`
    if (messages.recipientOf(id) !== client.index) this.#broken('I7', `${where} got a message that was not for it`)
    if (!messages.read(id, client.index, session.process)) {
      this.#broken('I9', `${where} got message ${nameOf(id)} twice`)
    }
  }

  onSettled(message: SentMessage): void {
    this.#checkTime(message)
    const { messages } = this.#world
    const { status, error } = message.outcome ?? {}
    if (error !== undefined && BETWEEN_SERVERS.has(error.reason)) {
      const who = `server ${message.process.index}: a client`
      this.#broken('I10', `${who} is told ${error.reasonName}, which servers tell each other`)
    }
    if (status === OutcomeStatus.HELD) messages.held += 1
    if (status === OutcomeStatus.REFUSED) messages.refused += 1
    if (status !== OutcomeStatus.DELIVERED) return
    messages.delivered += 1
    if (!messages.arrived(message)) this.#doubtful.add(message)
  }

  /** I7 and I10 at the end of a run. */
  atEnd(): void {
    for (const message of this.#doubtful) {
      this.#takeUnread(message)
      if (this.#world.messages.arrived(message)) continue
      const what = `message ${nameOf(message.id)} to client ${message.to}`
      this.#broken('I7', `${what} was reported delivered, and never got there`)
    }
    for (const message of this.#world.messages.open) this.#checkTime(message)
  }

  /** Messages that were sent after the faults, and did not get there yet. */
  missing(): SentMessage[] {
    return this.#world.messages.sent.filter((message) => {
      // A full queue says so at once, and whoever wrote may try again.
      const isFull = message.outcome?.error?.reason === ErrorReason.RECIPIENT_SLOW
      return message.inPeace && !isFull && !this.#world.messages.arrived(message)
    })
  }

  /** I5 for messages: what was sent after the faults got there. */
  checkPeace(): void {
    for (const { id, from, to, outcome } of this.missing()) {
      const result =
        outcome === undefined
          ? 'has no outcome'
          : `ended as ${outcomeName(outcome.status)} ${outcome.error?.message ?? ''}`
      this.#broken('I5', `message ${nameOf(id)} from client ${from} to ${to} in peace ${result}`)
    }
  }

  /** I8 when every ttl has passed: nothing of a message is left anywhere. */
  checkNothingHeld(): void {
    for (const { process } of this.#world.servers) {
      if (process === undefined) continue
      const { attempts } = process.backplane.held
      const { heldCount } = process.domain.router
      const what = [attempts > 0 && `${attempts} attempts`, heldCount > 0 && `${heldCount} messages held`]
      for (const left of what) {
        if (left !== false) this.#broken('I8', `server ${process.index}: still has ${left} when every ttl has passed`)
      }
    }
  }

  /** I10. Time in which the process is stopped does not count: nothing can resolve there. */
  #checkTime({ process, sentMs, ttlMs, resolvedMs, id }: SentMessage): void {
    const nowMs = resolvedMs ?? this.#world.clock.monotonicMs()
    if (process.state !== 'running' || process.resumedMs >= sentMs) return
    const { federationReceiptMs } = process.limits
    const patienceMs = 2 * federationReceiptMs
    const boundMs = (ttlMs === 0 ? patienceMs : Math.min(ttlMs, patienceMs)) * 1.01 + SLACK_MS
    if (nowMs - sentMs <= boundMs) return
    const what = `server ${process.index}: message ${nameOf(id)} with ttl ${ttlMs}`
    const state = resolvedMs === undefined ? 'has no outcome' : 'got its outcome'
    this.#broken('I10', `${what} ${state} after ${Math.round(nowMs - sentMs)} ms`)
  }

  /** What waits in queues of the recipient that it does not read. */
  #takeUnread(message: SentMessage): void {
    const recipient = this.#world.clients[message.to] as SimClient
    for (const session of this.#world.sessionsOf.get(recipient) ?? []) {
      for (const { event } of session.unread()) {
        if (event.case === 'message') this.#world.messages.lost(byteKey(event.value.id))
      }
    }
  }

  #broken(name: string, what: string): void {
    this.#world.violation(`${name} ${what}`)
  }
}

/** Reasons that send a message to another home, or nowhere: never the last word. */
const BETWEEN_SERVERS: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.NOT_HERE,
  ErrorReason.UNREACHABLE,
  ErrorReason.INTERNAL,
])

/** Rounding of timers. */
const SLACK_MS = 20

function nameOf(id: ByteKey): string {
  return toHex(Buffer.from(id, 'latin1'))
}
