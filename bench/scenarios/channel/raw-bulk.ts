import { connectRaw, type RawPeer, type RawRtc, type RawSignal, SignalInbox } from '../../systems/rtc/raw-rtc.ts'
import type { BulkMeter } from './bulk-meter.ts'
import { WRITE_BYTES } from './transfer.ts'

/** Queued in the channel: werift slows down with more, and the next message is always ready long before the last is out. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 32_768

/** One side of a raw data channel, with its signaling carried by whoever calls. */
export class RawBulk {
  readonly #meter: BulkMeter
  #peer: RawPeer | undefined
  #outgoing: RawSignal[] = []
  readonly #inbox = new SignalInbox()
  #resume: () => void = () => {}

  constructor(meter: BulkMeter) {
    this.#meter = meter
  }

  async open(rtc: RawRtc, side: 'offer' | 'answer'): Promise<void> {
    this.#peer = await connectRaw({
      rtc,
      side,
      signaling: {
        send: (signal) => this.#outgoing.push(signal),
        receive: (listener) => this.#inbox.listen(listener),
      },
      message: (data) => this.#meter.receive((data as ArrayBuffer).byteLength),
    })
    this.#peer.channel.bufferedAmountLowThreshold = LOW_WATER_BYTES
    this.#peer.channel.addEventListener('bufferedamountlow', () => this.#resume())
  }

  /** What this side has to tell the other since the last call. */
  outgoingSignals(): readonly RawSignal[] {
    const signals = this.#outgoing
    this.#outgoing = []
    return signals
  }

  incomingSignals(signals: readonly RawSignal[]): void {
    for (const signal of signals) this.#inbox.deliver(signal)
  }

  /** Resolves when everything is handed to the channel. */
  async send(totalBytes: number): Promise<void> {
    const { channel } = this.#peer!
    const message = Buffer.alloc(WRITE_BYTES, 7)
    for (let sent = 0; sent < totalBytes; sent += WRITE_BYTES) {
      if (channel.bufferedAmount > HIGH_WATER_BYTES) {
        await new Promise<void>((resolve) => {
          this.#resume = resolve
        })
      }
      channel.send(message)
    }
  }
}
