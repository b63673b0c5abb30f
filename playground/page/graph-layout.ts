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
const MARGIN_X = 60
const MARGIN_TOP = 56
const MARGIN_BOTTOM = 58
/** The peer in the middle, its name, and some air. */
const CHORD_CLEARANCE = 56

/**
 * An ellipse around the middle, filled evenly. One peer stands beside this one instead, and two make a triangle with it, so that
 * small swarms look settled and fit narrow screens. Same input, same drawing.
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
  if (peerCount === 2) {
    const [top, bottom] = [centre.y - radiusY * 0.8, centre.y + radiusY]
    return {
      self: { x: centre.x, y: bottom },
      peers: [-1, 1].map((side) => ({ x: centre.x + side * Math.min(reach, radiusY * 1.6), y: top })),
    }
  }
  const start = startAngle(peerCount)
  const peers = Array.from({ length: peerCount }, (_, index) => {
    const angle = start + (index / peerCount) * 2 * Math.PI
    return { x: centre.x + reach * Math.cos(angle), y: centre.y + radiusY * Math.sin(angle) }
  })
  return { self: centre, peers }
}

/** Odd numbers have one on top, even ones none, which keeps names apart. */
function startAngle(peerCount: number): number {
  return peerCount % 2 === 1 ? -Math.PI / 2 : -Math.PI / 2 - Math.PI / peerCount
}

/**
 * An SVG path between two peers: straight, unless that came closer to the middle than `clearance`; then it bends around the
 * peer that stands there.
 */
export function chordPath(from: Point, to: Point, centre: Point, clearance = CHORD_CLEARANCE): string {
  const span = Math.hypot(to.x - from.x, to.y - from.y) || 1
  // Unit normal of the chord, and on which side of it the middle lies.
  const normal = { x: (from.y - to.y) / span, y: (to.x - from.x) / span }
  const offset = (from.x - centre.x) * normal.x + (from.y - centre.y) * normal.y
  // A chord right through the middle bends upwards.
  const side = Math.abs(offset) < 1 ? -Math.sign(normal.y || 1) : Math.sign(offset)
  const push = Math.max(0, clearance - Math.abs(offset)) * side
  const start = `M${round(from.x)} ${round(from.y)}`
  if (push === 0) return `${start}L${round(to.x)} ${round(to.y)}`
  // The middle of a quadratic curve lies half way to its control point.
  const control = { x: (from.x + to.x) / 2 + normal.x * push * 2, y: (from.y + to.y) / 2 + normal.y * push * 2 }
  return `${start}Q${round(control.x)} ${round(control.y)} ${round(to.x)} ${round(to.y)}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
