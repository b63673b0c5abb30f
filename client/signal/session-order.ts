/**
 * Orders the sessions of one peer (SessionProof.session_order). The upper 44 bits name the process, by the time it started;
 * the lower 20 count the sessions it opened. Two sessions whose upper bits agree belong to the same process, so a peer that
 * merely lost its server is told from one that restarted.
 */
export class SessionOrder {
  #last: bigint

  constructor(wallMs: number) {
    this.#last = BigInt(Math.floor(wallMs)) << PROCESS_SHIFT
  }

  /** The order of the next session this process opens. */
  next(): bigint {
    this.#last += 1n
    return this.#last
  }

  /**
   * Starts again above another process's order: only a process that has had no session yet may. False when there is nothing
   * above it, which no honest server says.
   */
  startAbove(order: bigint): boolean {
    const process = (order >> PROCESS_SHIFT) + 1n
    if (process > MAX_PROCESS) return false
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
