import { equalBytes, toHex } from '@mesh/core'
import type { Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/**
 * Recognises envelopes that come a second time, because their sender gave them to several servers. Sender, id and payload must
 * agree: a server that alters the payload must not be able to pass its copy for the one that another server is about to bring.
 *
 * A window, not a promise: what is dropped here is the work of opening the same seal twice. Whatever is older than the window
 * is recognised by the link and by the replay windows of the seals, as repetitions of one server are.
 */

/** The servers of a peer differ by seconds at most; 1,024 envelopes are ten seconds of two peers at full rate. */
const MAX_ENVELOPES = 1_024
/** 16 of the largest payloads; mostly they are small. */
const MAX_BYTES = 1024 * 1024

export class DeliveryWindow {
  readonly #payloads = new Map<string, Uint8Array>()
  #bytes = 0

  /** True when the same envelope was here before; otherwise it is remembered, and the oldest gives way. */
  isRepeated({ from, id, payload }: Envelope): boolean {
    const name = toHex(from) + toHex(id)
    const known = this.#payloads.get(name)
    if (known) return equalBytes(known, payload)
    this.#payloads.set(name, payload)
    this.#bytes += payload.length
    for (const [oldest, { length }] of this.#payloads) {
      if (this.#payloads.size <= MAX_ENVELOPES && this.#bytes <= MAX_BYTES) break
      this.#payloads.delete(oldest)
      this.#bytes -= length
    }
    return false
  }
}
