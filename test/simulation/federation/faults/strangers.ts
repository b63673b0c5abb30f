import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Random } from '@mesh/core'
import {
  type Envelopes,
  type Frame,
  FrameSchema,
  type RoutedEnvelope,
  RoutedEnvelopeSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import { standInPublicKey } from '../servers/stand-in-keys.ts'
import type { World } from '../world.ts'

/** A peer that never joined anything. */
const STRANGER = standInPublicKey(0xff, 0xc0)

/** Attempts of servers do not get that far. */
const FIRST_ATTEMPT = 2n ** 40n

/**
 * Messages of somebody who is no member anywhere, as a server could make them up: each goes along with one that is genuine, to
 * the same recipient, and nobody waits for its receipt.
 */
export class Strangers {
  readonly #world: World
  readonly #random: Random
  readonly #ids = new Set<ByteKey>()

  constructor(world: World, random: Random) {
    this.#world = world
    this.#random = random
  }

  /** The frames that travel in place of these. */
  frames(frames: readonly Frame[]): readonly Frame[] {
    const { strangerRate } = this.#world.settings
    if (strangerRate === 0) return frames
    return frames.map((frame) => {
      if (frame.frame.case !== 'envelopes' || this.#random.uniform() >= strangerRate) return frame
      return this.#withStranger(frame, frame.frame.value)
    })
  }

  has(id: ByteKey): boolean {
    return this.#ids.has(id)
  }

  /** Those among the messages of frames. */
  among(frames: readonly Frame[]): ByteKey[] {
    if (this.#ids.size === 0) return []
    const envelopes = frames.flatMap(({ frame }) => (frame.case === 'envelopes' ? frame.value.envelopes : []))
    return envelopes
      .map(({ envelope }) => byteKey(fromBinary(EnvelopeSchema, envelope).id))
      .filter((id) => this.has(id))
  }

  #withStranger(frame: Frame, { envelopes }: Envelopes): Frame {
    const genuine = envelopes.find(({ destination }) => destination.length === 0)
    if (genuine === undefined) return frame
    this.#world.count('strangers')
    const value = { envelopes: [...envelopes, this.#madeUpAfter(genuine)] }
    return create(FrameSchema, { frame: { case: 'envelopes', value } })
  }

  #madeUpAfter({ envelope }: RoutedEnvelope): RoutedEnvelope {
    const { to, topic } = fromBinary(EnvelopeSchema, envelope)
    const id = this.#random.bytes(16)
    const count = BigInt(this.#ids.add(byteKey(id)).size)
    const fields = { id, to, topic, from: STRANGER, fromSession: id, payload: id.subarray(0, 4) }
    const bytes = toBinary(EnvelopeSchema, create(EnvelopeSchema, fields))
    return create(RoutedEnvelopeSchema, { envelope: bytes, attempt: FIRST_ATTEMPT + count })
  }
}
