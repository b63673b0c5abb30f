import { type PathName, PathState } from './path-state.ts'

/** The paths of a link, and which of them carries it: direct when it is usable, else relay, else none. */
export class Paths {
  readonly relay = new PathState('relay')
  readonly direct = new PathState('direct')
  readonly all: readonly PathState[] = [this.relay, this.direct]
  #active: PathState | undefined
  /** How often another path, or none, began to carry the link. */
  changes = 0

  /** The path that carries data. */
  get active(): PathState | undefined {
    return this.#active
  }

  named(name: PathName): PathState {
    return name === 'relay' ? this.relay : this.direct
  }

  /** Notes whether a path is usable; one that becomes so is not full. Returns whether another path is active now. */
  setUsable(path: PathState, usable: boolean): boolean {
    path.usable = usable
    path.blocked = false
    const next = this.direct.usable ? this.direct : this.relay.usable ? this.relay : undefined
    if (next === this.#active) return false
    this.#active = next
    this.changes += 1
    return true
  }
}
