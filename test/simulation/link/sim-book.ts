/** One direction of one channel. */
export interface Flow {
  readonly name: string
  /** Messages queued, or bytes written. */
  sent: number
  /** Messages whose sending succeeded. */
  delivered: number
  arrived: number
  ended: boolean
  endArrived: boolean
}

/** One direction of one channel of datagrams. */
interface DatagramFlow {
  /** Those that the link took, by number. */
  readonly left: Set<number>
  readonly arrived: Set<number>
  sent: number
}

/**
 * What was sent over one pair of links and what arrived: once, whole and in order; datagrams at most once, and whole. And the calls that were made, each of which must
 * settle as long as its process lives.
 */
export class SimBook {
  readonly #violation: (what: string) => void
  readonly #flows = new Map<string, Flow>()
  readonly #datagrams = new Map<string, DatagramFlow>()
  /** Calls that have not settled, by what they were, for each side. */
  readonly #unsettled = [new Map<number, string>(), new Map<number, string>()] as const
  /** Calls that must not fail, because their link closed and called nothing undelivered. */
  readonly #safe = new Set<number>()
  #call = 0
  settledBadly = 0

  constructor(violation: (what: string) => void) {
    this.#violation = violation
  }

  unsettled(side: 0 | 1): string[] {
    return [...this.#unsettled[side].values()]
  }

  /** The side's link closed and reported nothing as undelivered: what is not settled yet is about to be, and well. */
  nothingUndelivered(side: 0 | 1): void {
    for (const call of this.#unsettled[side].keys()) this.#safe.add(call)
  }

  flow(name: string): Flow {
    let flow = this.#flows.get(name)
    if (flow === undefined) {
      flow = { name, sent: 0, delivered: 0, arrived: 0, ended: false, endArrived: false }
      this.#flows.set(name, flow)
    }
    return flow
  }

  /** Makes a call and remembers it until it settles. */
  async settles(side: 0 | 1, what: string, run: () => Promise<void>): Promise<boolean> {
    const call = this.#call++
    const open = this.#unsettled[side]
    open.set(call, what)
    try {
      await run()
      return true
    } catch {
      this.settledBadly += 1
      if (this.#safe.has(call)) this.#violation(`${what} failed, and was not reported as undelivered`)
      return false
    } finally {
      open.delete(call)
    }
  }

  /** A message for the flow, which says which one it is; the rest follows from the position. */
  nextMessage(flow: Flow, size: number): Uint8Array {
    const bytes = patternBytes(0, size)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, flow.sent)
    view.setUint32(4, size)
    flow.sent += 1
    return bytes
  }

  /** The next bytes for the flow. */
  nextBytes(flow: Flow, size: number): Uint8Array {
    const bytes = patternBytes(flow.sent, size)
    flow.sent += size
    return bytes
  }

  messageArrived(name: string, bytes: Uint8Array): void {
    const flow = this.flow(name)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const [index, size] = [view.getUint32(0), view.getUint32(4)]
    if (index !== flow.arrived) this.#violation(`${name}: message ${index} arrived in place of ${flow.arrived}`)
    if (size !== bytes.length) this.#violation(`${name}: message ${index} has ${bytes.length} bytes instead of ${size}`)
    this.#checkPattern(8, bytes.subarray(8), `${name}: message ${index}`)
    flow.arrived += 1
    if (flow.arrived > flow.sent) this.#violation(`${name}: more messages arrived than were sent`)
  }

  /** Sends a datagram that says which one it is. */
  datagram(name: string, size: number, send: (bytes: Uint8Array) => boolean): void {
    const flow = this.#datagramFlow(name)
    const number = flow.sent++
    const bytes = patternBytes(0, size)
    new DataView(bytes.buffer).setUint32(0, number)
    if (send(bytes)) flow.left.add(number)
    // It was copied: what becomes of the bytes now must not matter.
    bytes.fill(0xee)
  }

  datagramArrived(name: string, bytes: Uint8Array): void {
    const flow = this.#datagramFlow(name)
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
    if (!flow.left.has(number)) this.#violation(`${name}: datagram ${number} arrived and was not sent`)
    if (flow.arrived.has(number)) this.#violation(`${name}: datagram ${number} arrived twice`)
    flow.arrived.add(number)
    this.#checkPattern(4, bytes.subarray(4), `${name}: datagram ${number}`)
  }

  bytesArrived(name: string, chunk: Uint8Array): void {
    const flow = this.flow(name)
    this.#checkPattern(flow.arrived, chunk, name)
    flow.arrived += chunk.length
  }

  /** Complains about everything that should have arrived and has not. */
  checkComplete(): void {
    for (const { name, sent, arrived, ended, endArrived } of this.#flows.values()) {
      if (arrived !== sent) this.#violation(`${name}: ${arrived} of ${sent} arrived`)
      if (ended && !endArrived) this.#violation(`${name}: its end did not arrive`)
    }
  }

  /** Complains about messages whose senders were told that they had arrived, and that have not. */
  checkDelivered(): void {
    for (const { name, delivered, arrived } of this.#flows.values()) {
      if (delivered > arrived)
        this.#violation(`${name}: ${delivered} messages are called delivered, ${arrived} arrived`)
    }
  }

  #datagramFlow(name: string): DatagramFlow {
    let flow = this.#datagrams.get(name)
    if (flow === undefined) {
      flow = { left: new Set(), arrived: new Set(), sent: 0 }
      this.#datagrams.set(name, flow)
    }
    return flow
  }

  #checkPattern(start: number, bytes: Uint8Array, what: string): void {
    if (Buffer.compare(bytes, PATTERN.subarray(start, start + bytes.length)) === 0) return
    this.#violation(`${what}: ${bytes.length} bytes from ${start} are wrong`)
  }
}

/** Bytes that tell their position. Not periodic in any frame size, so that a swapped or repeated piece shows. */
const PATTERN = Uint8Array.from({ length: 1 << 20 }, (_, position) => position ^ (position >> 8) ^ (position >> 16))

function patternBytes(start: number, size: number): Uint8Array<ArrayBuffer> {
  return PATTERN.slice(start, start + size)
}
