/**
 * Orders the sessions of one peer (SessionProof.session_order). The upper 44 bits name the process, by the time it started;
 * the lower 20 count the sessions it opened, at whatever server. Two sessions whose upper bits agree belong to the same
 * process, so a peer that merely lost its server is told from one that restarted.
 */
export class SessionOrder {
  #last: bigint
  #used = false

  constructor(wallMs: number) {
    this.#last = BigInt(Math.floor(wallMs)) << PROCESS_SHIFT
  }

  /** True when a server has opened a session for this process: its name cannot change any more. */
  get used(): boolean {
    return this.#used
  }

  /** The order of the next session this process opens. */
  next(): bigint {
    this.#last += 1n
    return this.#last
  }

  /**
   * A session of this order was opened. False when the process took another name meanwhile, because of what another server
   * said: then the session would pass for an older process's, and must be opened again.
   */
  use(order: bigint): boolean {
    if (!sameProcess(order, this.#last)) return false
    this.#used = true
    return true
  }

  /**
   * Takes a name above another process's: only a process that has had no session yet may. False when it may not, or when
   * there is nothing above, which no honest server says.
   */
  startAbove(order: bigint): boolean {
    const process = (order >> PROCESS_SHIFT) + 1n
    if (this.#used || process > MAX_PROCESS) return false
    if (order >= this.#last) this.#last = process << PROCESS_SHIFT
    return true
  }
}

const PROCESS_SHIFT = 20n
const MAX_PROCESS = (1n << 44n) - 1n

/** True when both sessions were opened by one process. */
export function sameProcess(a: bigint, b: bigint): boolean {
  return a >> PROCESS_SHIFT === b >> PROCESS_SHIFT
}
