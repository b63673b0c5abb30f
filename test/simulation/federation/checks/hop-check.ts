import { fromBinary } from '@bufbuild/protobuf'
import { toHex } from '@mesh/core'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { Writing } from '../faults/tampering.ts'
import type { World } from '../world.ts'

/**
 * The hops of I9, by what is on the wire. A server sends a message only when a session of it wrote it, when it was sent it and so
 * answers for it (what it held, or what nobody read, goes on to where the recipient is now), or to pass it on to where it was
 * asked to. What is passed on has no destination any more, so that it goes no further.
 */
export class HopCheck {
  readonly #world: World
  /** Servers that a message was sent to, to deliver or to hold: "server id". */
  readonly #holders = new Set<string>()
  /** What a server was asked to pass on: "server id destination". */
  readonly #errands = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  onFrames({ from, to, frames }: Writing): void {
    for (const { frame } of frames) {
      if (frame.case !== 'envelopes') continue
      for (const { envelope, destination } of frame.value.envelopes) {
        this.#onAttempt(byteKey(fromBinary(EnvelopeSchema, envelope).id), from, to, destination[0])
      }
    }
  }

  #onAttempt(id: ByteKey, from: number, to: number, destination: number | undefined): void {
    if (destination === undefined) this.#holders.add(`${to} ${id}`)
    else this.#errands.add(`${to} ${id} ${destination}`)
    if (this.#world.messages.sentAt(id, from) || this.#holders.has(`${from} ${id}`)) return
    if (destination === undefined && this.#errands.has(`${from} ${id} ${to}`)) return
    const onward = destination === undefined ? '' : `, to be passed on to server ${destination}`
    const name = toHex(Buffer.from(id, 'latin1'))
    this.#world.violation(
      `I9 server ${from} sends message ${name} to server ${to}${onward}, and does not answer for it`,
    )
  }
}
