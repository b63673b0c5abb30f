/**
 * What the relay and idle scenarios need from a system under test, whatever it speaks. A line is one sender and one
 * receiver that share the server under test; both ends live in the load process.
 */
export interface RelayLine {
  /** Hands `count` messages to the transport at once, each carrying `sentAtMs` (`performance.now()` of this process). */
  send(count: number, sentAtMs: number): void
}

/** Where a system reports what came out at the receiving end of a line. */
export interface DeliverySink {
  delivered(line: number, sentAtMs: number): void
  /** A refused or failed message ends the measurement: numbers of a run that lost messages mean nothing. */
  failed(error: Error): void
}

export interface LineOptions {
  readonly port: number
  /** Where the receivers are. Default: at the same server as the senders. */
  readonly receiverPort?: number
  readonly lines: number
  /** Messages per `send`. */
  readonly batch: number
}

/** Connects all lines; resolves when every receiver can be reached. */
export type OpenLines = (options: LineOptions, sink: DeliverySink) => Promise<readonly RelayLine[]>

export interface IdleOptions {
  readonly port: number
  readonly count: number
  /** Tells populations of several load processes apart. */
  readonly offset: number
}

/** Connects `count` peers that then stay connected and say nothing of their own accord. */
export type OpenIdle = (options: IdleOptions) => Promise<void>

/** Bytes of one message's payload: about the size of a sealed ICE candidate. */
export const PAYLOAD_BYTES = 200

/** Runs `open` for 0 to `count` - 1, at most `atOnce` at a time, so a listener's backlog is never the bottleneck. */
export async function openMany(count: number, atOnce: number, open: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    while (next < count) await open(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, run))
}
