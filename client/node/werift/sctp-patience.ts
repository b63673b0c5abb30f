/**
 * How long something is waited for that later packets have overtaken. It begins with what RFC 9002 section 6.1 recommends, and grows
 * whenever a packet that was given up comes after all: over a radio or several lines packets overtake each other all the time, and to
 * take that for loss would halve the window for nothing.
 */
export class Patience {
  #level = 0

  /** So many packets overtake it. */
  get packets(): number {
    return REORDERED_PACKETS * 2 ** this.#level
  }

  /** Or it is so old, when a round trip takes `roundTripMs`: an eighth of it more, up to twice as long. */
  ofMs(roundTripMs: number): number {
    return Math.max(roundTripMs * (1 + (this.#level + 1) / (MAX_LEVEL + 1)), CLOCK_GRAIN_MS)
  }

  grow(): void {
    this.#level = Math.min(this.#level + 1, MAX_LEVEL)
  }
}

/** RFC 9260 section 7.2.4: three. At the highest level 384, more than usually are in flight. */
const REORDERED_PACKETS = 3
const MAX_LEVEL = 7
/** Timers of Node count whole milliseconds. */
const CLOCK_GRAIN_MS = 1
