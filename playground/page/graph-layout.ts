/** Where the peers of a swarm stand on the drawing: this peer in the middle, the others around it. */
export interface Point {
  readonly x: number
  readonly y: number
}

export interface GraphLayout {
  readonly self: Point
  /** One per peer, in the order of the ids. */
  readonly peers: readonly Point[]
}

/** Room for a node with its name below, and for half of the name beside. */
const MARGIN_X = 68
const MARGIN_TOP = 40
const MARGIN_BOTTOM = 58

/**
 * An ellipse around the middle, filled evenly. One peer stands beside this one instead, and two to its left and right, so that
 * small swarms look settled. Same input, same drawing.
 */
export function layoutGraph(peerCount: number, width: number, height: number): GraphLayout {
  const centre = { x: width / 2, y: (MARGIN_TOP + height - MARGIN_BOTTOM) / 2 }
  const radiusX = Math.max(0, width / 2 - MARGIN_X)
  const radiusY = Math.max(0, (height - MARGIN_TOP - MARGIN_BOTTOM) / 2)
  if (peerCount === 1) {
    const apart = Math.min(radiusX, 170)
    return {
      self: { x: centre.x - apart, y: centre.y },
      peers: [{ x: centre.x + apart, y: centre.y }],
    }
  }
  const reach = Math.min(radiusX, Math.max(radiusY * 1.9, 150))
  const start = startAngle(peerCount)
  const peers = Array.from({ length: peerCount }, (_, index) => {
    const angle = start + (index / peerCount) * 2 * Math.PI
    return { x: centre.x + reach * Math.cos(angle), y: centre.y + radiusY * Math.sin(angle) }
  })
  return { self: centre, peers }
}

/** Two stand left and right; odd numbers have one on top, even ones none, which keeps names apart. */
function startAngle(peerCount: number): number {
  if (peerCount === 2) return Math.PI
  return peerCount % 2 === 1 ? -Math.PI / 2 : -Math.PI / 2 - Math.PI / peerCount
}

/**
 * An SVG path between two peers that bends away from the middle, so that it does not run through the peer there.
 * `bend` 0 is straight; 1 leads around by half the distance to the edge.
 */
export function chordPath(from: Point, to: Point, centre: Point, bend = 0.5): string {
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 }
  const away = { x: middle.x - centre.x, y: middle.y - centre.y }
  const length = Math.hypot(away.x, away.y)
  const span = Math.hypot(to.x - from.x, to.y - from.y)
  // Through the middle exactly: bend to the side, upwards for a level line.
  const direction =
    length > 1
      ? { x: away.x / length, y: away.y / length }
      : { x: (to.y - from.y) / (span || 1), y: -Math.abs(to.x - from.x) / (span || 1) }
  const push = bend * span * 0.5 * Math.max(0, 1 - length / (span || 1))
  const control = { x: middle.x + direction.x * push * 2, y: middle.y + direction.y * push * 2 }
  return `M${round(from.x)} ${round(from.y)}Q${round(control.x)} ${round(control.y)} ${round(to.x)} ${round(to.y)}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
