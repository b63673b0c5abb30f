import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError } from '@mesh/core'
import {
  ChannelCreditSchema,
  ChannelKind,
  type ChannelOpen,
  ChannelResetSchema,
  type Frame,
  FrameSchema,
} from '@mesh/protocol/mesh/peer/v1/link_pb'
import { invalidFrame, MAX_NAME_BYTES } from '../frame-check.ts'
import { CREDIT_BYTES } from '../frame-size.ts'
import { INITIAL_CREDIT_BYTES, type LinkLimits } from '../link-limits.ts'
import type { Outgoing, Settlement } from '../outgoing.ts'
import type { CreditSource, FrameSource } from '../scheduler.ts'
import { Inbox, type ReassemblyBudget } from './inbox.ts'
import { Outbox } from './outbox.ts'

// One channel's state: an outbox, an inbox, and how it ends.
//
//   open ──end() or ChannelEnd──▶ one direction over ──the other too──▶ closed
//     └──────reset(), ChannelReset, Detach, the link's end────────────▶ closed, with an error
//
// A channel is forgotten when both directions are over. Its unread messages stay readable, except after a reset.

/** What a channel needs of the link. */
export interface ChannelHost {
  readonly limits: LinkLimits
  readonly reassembly: ReassemblyBudget
  /** The outbox has become ready. */
  activate(machine: ChannelMachine): void
  /** There is credit to tell. */
  giveCredit(machine: ChannelMachine): void
  /** Sends a datagram of the channel now. False: dropped. */
  sendDatagram(machine: ChannelMachine, data: Uint8Array): boolean
  /** Sends the reset. */
  sendReset(machine: ChannelMachine, error: MeshError): void
  /** Both directions are over. */
  forget(machine: ChannelMachine): void
}

export class ChannelMachine implements FrameSource, CreditSource {
  readonly id: number
  readonly topic: Uint8Array
  readonly name: string
  readonly kind: ChannelKind
  readonly opener: 'local' | 'remote'
  readonly outbox: Outbox
  readonly inbox: Inbox
  /** The path in use may not carry this channel's data. */
  held = false
  readonly #host: ChannelHost
  #closed = false
  #error: MeshError | undefined
  /** Told of everything a reader waits for: something readable, the end, a failure. */
  #notify: (() => void) | undefined

  /** `open` as it is or was on the wire: it tells both sides how the channel begins. */
  constructor(open: ChannelOpen, opener: 'local' | 'remote', host: ChannelHost) {
    this.id = open.channel
    this.topic = open.topic
    this.name = open.name
    this.kind = open.kind
    this.opener = opener
    this.#host = host
    const credit = opener === 'local' ? INITIAL_CREDIT_BYTES : Number(open.credit)
    this.outbox = new Outbox(this.id, this.kind, credit, host.limits)
    this.inbox = new Inbox(this.kind, host.limits, host.reassembly)
  }

  get limits(): LinkLimits {
    return this.#host.limits
  }
  get closed(): boolean {
    return this.#closed
  }
  /** Why it closed; undefined while open, or when both sides ended it. */
  get error(): MeshError | undefined {
    return this.#error
  }
  get ready(): boolean {
    return !this.held && this.outbox.ready
  }

  /** Calls back after every change that a reader or `closed` may wait for. */
  onChange(notify: () => void): void {
    this.#notify = notify
  }

  nextFrame(maxBytes: number): Outgoing | undefined {
    const outgoing = this.outbox.nextFrame(maxBytes)
    if (this.outbox.finished) this.#closeIfOver()
    return outgoing
  }

  creditFrame(): Outgoing | undefined {
    const credit = this.inbox.creditDue()
    if (credit === undefined) return undefined
    this.inbox.creditTold(credit)
    const value = create(ChannelCreditSchema, { channel: this.id, credit: BigInt(credit) })
    return { frame: create(FrameSchema, { body: { case: 'credit', value } }), bytes: CREDIT_BYTES }
  }

  /** Queues bytes to send. @throws MeshError CHANNEL_CLOSED | LIMIT_EXCEEDED */
  push(bytes: Uint8Array, settlement?: Settlement): { withdraw(): boolean } {
    if (this.#closed || this.outbox.ended) throw this.#error ?? channelClosed(this.name)
    const queued = this.outbox.push(bytes, settlement)
    this.#host.activate(this)
    return queued
  }

  /** Sends a datagram now, or drops it: then false. @throws MeshError CHANNEL_CLOSED */
  sendDatagram(data: Uint8Array): boolean {
    if (this.#closed || this.outbox.ended) throw this.#error ?? channelClosed(this.name)
    return !this.held && this.#host.sendDatagram(this, data)
  }

  /** Ends this side's direction. @throws MeshError why the channel failed, if it did */
  end(settlement: Settlement): void {
    if (this.#error !== undefined) throw this.#error
    if (this.outbox.ended) {
      settlement.acknowledged()
      return
    }
    this.outbox.end(settlement)
    this.#host.activate(this)
  }

  /** The next message or chunk. */
  take(): Uint8Array | undefined {
    const bytes = this.inbox.take()
    if (bytes !== undefined) this.#checkCredit()
    return bytes
  }

  /** Closes both directions and tells the other side. Harmless when closed. */
  reset(error: MeshError): void {
    if (this.#closed) return
    this.#host.sendReset(this, error)
    this.fail(error, { discard: true })
  }

  /** Closes both directions on this side only. `discard`: unread messages go too. */
  fail(error: MeshError, { discard }: { discard: boolean }): void {
    if (this.#closed) return
    this.#error = error
    this.#close()
    this.outbox.fail(error)
    this.inbox.close(discard)
    this.#notify?.()
  }

  /** ChannelData. @throws as Inbox.receive */
  receiveData(data: Uint8Array, endOfMessage: boolean): void {
    const readable = this.inbox.receive(data, endOfMessage)
    this.#checkCredit()
    if (this.inbox.ended) this.#closeIfOver()
    if (readable) this.#notify?.()
  }

  /** Datagram. @throws as Inbox.receiveDatagram */
  receiveDatagram(data: Uint8Array): void {
    this.inbox.receiveDatagram(data)
    this.#notify?.()
  }

  /** ChannelCredit. @throws as Outbox.grant */
  receiveCredit(credit: number): void {
    if (this.kind === ChannelKind.DATAGRAMS) throw invalidFrame('ChannelCredit on a channel of datagrams')
    this.outbox.grant(credit)
    if (this.ready) this.#host.activate(this)
  }

  /** ChannelEnd. @throws as Inbox.end */
  receiveEnd(): void {
    this.inbox.end()
    this.#closeIfOver()
    this.#notify?.()
  }

  #checkCredit(): void {
    if (!this.#closed && this.inbox.creditDue() !== undefined) this.#host.giveCredit(this)
  }

  #closeIfOver(): void {
    if (!this.inbox.ended || !this.outbox.finished || this.#closed) return
    this.#close()
    this.#notify?.()
  }

  #close(): void {
    this.#closed = true
    this.#host.forget(this)
  }
}

/** The error of everything that waits on a channel which ended before it. */
export function channelClosed(name: string): MeshError {
  return new MeshError(ErrorReason.CHANNEL_CLOSED, `The channel ${JSON.stringify(name)} is closed`)
}

/** ChannelReset for the error. Its text is cut to what the frame may carry. */
export function resetFrame(channel: number, error: MeshError): Frame {
  // An unexpected failure may name paths or secrets of this side: its text stays here.
  const text = error.reason === ErrorReason.INTERNAL ? 'Unexpected failure' : error.message
  // Cut by characters: at most three bytes each in UTF-8.
  const message = text.slice(0, Math.floor(MAX_NAME_BYTES / 3))
  const value = create(ChannelResetSchema, { channel, error: error.toDetail(), message })
  return create(FrameSchema, { body: { case: 'reset', value } })
}
