import type { Point } from '../graph-layout.ts'

const DURATION_MS = 420

/** Glides points to where they belong, or jumps when people prefer less motion or the page is hidden. */
export class Motion {
  readonly #moved: () => void
  #from = new Map<string, Point>()
  #targets: ReadonlyMap<string, Point> = new Map()
  #startedAt = 0
  #frame: number | undefined

  /** `moved`: read the points again. */
  constructor(moved: () => void) {
    this.#moved = moved
  }

  /** Points that are new begin at `origin`. */
  moveTo(targets: ReadonlyMap<string, Point>, origin: Point): void {
    if (same(this.#targets, targets)) return
    const first = this.#targets.size === 0
    this.#from = new Map([...targets.keys()].map((id) => [id, this.#targets.has(id) ? this.at(id) : origin]))
    this.#targets = targets
    this.#startedAt = performance.now()
    if (first || document.hidden || matchMedia('(prefers-reduced-motion: reduce)').matches) this.jump()
    else this.#frame ??= requestAnimationFrame(() => this.#step())
  }

  /** Ends the motion at once. */
  jump(): void {
    this.#startedAt = -DURATION_MS
  }

  at(id: string): Point {
    const target = this.#targets.get(id) ?? { x: 0, y: 0 }
    const from = this.#from.get(id) ?? target
    const progress = Math.min(1, (performance.now() - this.#startedAt) / DURATION_MS)
    // Fast, then gentle (cubic ease-out).
    const eased = 1 - (1 - progress) ** 3
    return { x: from.x + (target.x - from.x) * eased, y: from.y + (target.y - from.y) * eased }
  }

  #step(): void {
    this.#frame = undefined
    this.#moved()
    if (performance.now() - this.#startedAt < DURATION_MS) this.#frame = requestAnimationFrame(() => this.#step())
  }
}

function same(a: ReadonlyMap<string, Point>, b: ReadonlyMap<string, Point>): boolean {
  if (a.size !== b.size) return false
  return [...a].every(([id, { x, y }]) => {
    const other = b.get(id)
    return other !== undefined && other.x === x && other.y === y
  })
}
