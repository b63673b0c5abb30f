import type { Peer } from '@mesh/client'
import { displayName } from '../../peer/profile.ts'
import { describeConnection } from '../connection-words.ts'
import { chordPath, layoutGraph, type Point } from '../graph-layout.ts'
import { avatarGroup } from './avatar.ts'
import { element, setAttributes, setText, svgElement } from './element.ts'
import { acceptFiles } from './file-drop.ts'
import { type ItemView, KeyedList } from './keyed-list.ts'
import { Motion } from './motion.ts'
import type { PageActions, PageState } from './page-context.ts'

const SELF_RADIUS = 24
const PEER_RADIUS = 20
const NAME_CHARACTERS = 16
/** A message went over a link. */
const PULSE = [{ strokeWidth: '6px' }, { strokeWidth: '2.5px' }]
const PULSE_MS = 600

interface Chord {
  readonly key: string
  readonly from: string
  readonly to: string
  readonly path: 'relay' | 'direct'
}

/**
 * The swarm as this peer sees it: itself in the middle, a line to everyone it is linked to, and faint lines for what the others
 * say about each other. For people who cannot see it, the list of people says the same.
 */
export class GraphView {
  readonly node: HTMLElement
  readonly #actions: PageActions
  readonly #svg = svgElement('svg', { class: 'graph', role: 'img', 'aria-labelledby': 'graph-title' })
  readonly #title = svgElement('title', { id: 'graph-title' })
  readonly #self = svgElement('g', { class: 'node self' })
  readonly #chords: KeyedList<Chord>
  readonly #links: KeyedList<Peer>
  readonly #nodes: KeyedList<Peer>
  readonly #motion = new Motion(() => this.#place())
  readonly #size = { width: 640, height: 320 }
  #placed: (() => void)[] = []
  #state: PageState | undefined
  #selfKey: string | undefined

  constructor(actions: PageActions) {
    this.#actions = actions
    const [chords, links, nodes] = [svgElement('g'), svgElement('g'), svgElement('g')]
    this.#chords = new KeyedList(
      chords,
      ({ key }) => key,
      () => this.#chordView(),
    )
    this.#links = new KeyedList(
      links,
      ({ id }) => id,
      () => this.#linkView(),
    )
    this.#nodes = new KeyedList(
      nodes,
      ({ id }) => id,
      (peer) => this.#nodeView(peer),
    )
    this.#svg.append(this.#title, chords, links, nodes, this.#self)
    this.node = element('div', { class: 'graph-frame' }, this.#svg, legend())
    new ResizeObserver(([entry]) => this.#resize(entry?.contentRect)).observe(this.#svg)
  }

  update(state: PageState): void {
    this.#state = state
    const { room, self } = state
    if (this.#selfKey !== self.id) {
      this.#selfKey = self.id
      this.#self.replaceChildren(avatarGroup(self.key, SELF_RADIUS), nodeName('You', SELF_RADIUS))
    }
    const { peers } = room
    setText(this.#title, describe(peers))
    this.#placed = []
    this.#layout(peers)
    this.#chords.update(chordsOf(room))
    this.#links.update(peers)
    this.#nodes.update(peers)
    this.#place()
  }

  #layout(peers: readonly Peer[]): void {
    const layout = layoutGraph(peers.length, this.#size.width, this.#size.height)
    const targets = new Map<string, Point>([['self', layout.self]])
    for (const [index, peer] of peers.entries()) targets.set(peer.id, layout.peers[index] ?? layout.self)
    this.#motion.moveTo(targets, layout.self)
  }

  #resize(rect: DOMRectReadOnly | undefined): void {
    if (!rect || rect.width === 0) return
    this.#size.width = rect.width
    this.#size.height = rect.height
    setAttributes(this.#svg, { viewBox: `0 0 ${rect.width} ${rect.height}` })
    if (!this.#state) return
    this.update(this.#state)
    this.#motion.jump()
    this.#place()
  }

  /** Puts everything where the motion says. */
  #place(): void {
    moveNode(this.#self, this.#motion.at('self'))
    for (const place of this.#placed) place()
  }

  #chordView(): ItemView<Chord> {
    const node = svgElement('path')
    return {
      node,
      update: (chord) => {
        setAttributes(node, { class: `chord path-${chord.path}` })
        this.#placed.push(() => {
          const [from, to, centre] = [chord.from, chord.to, 'self'].map((id) => this.#motion.at(id))
          if (from && to && centre) setAttributes(node, { d: chordPath(from, to, centre) })
        })
      },
    }
  }

  #linkView(): ItemView<Peer> {
    const line = svgElement('line')
    const text = svgElement('text', { class: 'rtt' })
    const ground = svgElement('rect', { class: 'rtt-ground', rx: 9, height: 18, y: -9 })
    const label = svgElement('g', {}, ground, text)
    const node = svgElement('g', {}, line, label)
    let activity: number | undefined
    return {
      node,
      update: (peer) => {
        const now = this.#state?.room.activityOf(peer.id) ?? 0
        if (activity !== undefined && now > activity) line.animate(PULSE, PULSE_MS)
        activity = now
        const { tone, aside } = describeConnection(peer, Date.now())
        setAttributes(node, { class: `link path-${tone}` })
        const words = tone === 'away' ? 'away' : aside || '…'
        setText(text, words)
        const width = words.length * 6.6 + 14
        setAttributes(ground, { x: -width / 2, width })
        this.#placed.push(() => {
          const [from, to] = [this.#motion.at('self'), this.#motion.at(peer.id)]
          setAttributes(line, { x1: from.x, y1: from.y, x2: to.x, y2: to.y })
          moveNode(label, { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 })
        })
      },
    }
  }

  #nodeView(first: Peer): ItemView<Peer> {
    const name = nodeName('', PEER_RADIUS)
    const ring = svgElement('circle', { class: 'ring', r: PEER_RADIUS + 5 })
    const node = svgElement('g', { class: 'node peer' }, ring, avatarGroup(first.key, PEER_RADIUS), name)
    let peer = first
    node.addEventListener('click', () => this.#actions.select(peer.id))
    acceptFiles(node, (files) => this.#actions.sendFiles(peer, files))
    return {
      node,
      update: (next) => {
        peer = next
        setText(name, cut(displayName(peer)))
        node.classList.toggle('away', peer.presence === 'away')
        node.classList.toggle('selected', this.#state?.selectedId === peer.id)
        this.#placed.push(() => {
          const point = this.#motion.at(peer.id)
          moveNode(node, point)
          // On the side away from the middle, where no line to it runs.
          const above = point.y < this.#motion.at('self').y - PEER_RADIUS
          setAttributes(name, { y: above ? -PEER_RADIUS - 9 : PEER_RADIUS + 18 })
        })
      },
    }
  }
}

/** Each pair once, direct when either of the two says so. */
function chordsOf({ peers, neighbours }: PageState['room']): Chord[] {
  const ids = new Set(peers.map(({ id }) => id))
  const chords = new Map<string, Chord>()
  for (const { id } of peers) {
    for (const neighbour of neighbours.of(id)) {
      if (neighbour.id === id || !ids.has(neighbour.id)) continue
      const [from = '', to = ''] = [id, neighbour.id].sort()
      const key = `${from} ${to}`
      if (chords.get(key)?.path !== 'direct') chords.set(key, { key, from, to, path: neighbour.path })
    }
  }
  return [...chords.values()]
}

function describe(peers: readonly Peer[]): string {
  if (peers.length === 0) return 'The swarm: you, and nobody else yet'
  const paths = { direct: 'directly', relay: 'through the server', none: 'not at the moment' }
  const links = peers.map((peer) => `${displayName(peer)} ${peer.presence === 'away' ? '(away)' : paths[peer.path]}`)
  return `The swarm: you are connected to ${links.join(', ')}`
}

function nodeName(text: string, radius: number): SVGTextElement {
  return svgElement('text', { class: 'node-name', y: radius + 18 }, text)
}

function moveNode(node: SVGElement, { x, y }: Point): void {
  node.setAttribute('transform', `translate(${x.toFixed(1)} ${y.toFixed(1)})`)
}

function cut(name: string): string {
  return name.length <= NAME_CHARACTERS ? name : `${name.slice(0, NAME_CHARACTERS - 1)}…`
}

function legend(): HTMLElement {
  const entry = (path: string, words: string) =>
    element(
      'li',
      { class: `path-${path}` },
      svgElement(
        'svg',
        { viewBox: '0 0 28 6', 'aria-hidden': 'true' },
        svgElement('line', { x1: 1, y1: 3, x2: 27, y2: 3 }),
      ),
      words,
    )
  return element(
    'ul',
    { class: 'legend' },
    entry('direct', 'direct'),
    entry('relay', 'through the server'),
    entry('none', 'reconnecting'),
  )
}
