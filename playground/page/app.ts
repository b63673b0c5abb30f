import { createClient, type MeshClient, parsePeerId } from '@mesh/client'
import { nicknameOf } from '../peer/nickname.ts'
import { cleanName } from '../peer/profile.ts'
import { parsePartyText, partyProblem, partyTextOf, partyUrl } from './party-link.ts'
import { Room } from './room.ts'
import type { Author } from './timeline.ts'
import { ChatView } from './view/chat-view.ts'
import { element } from './view/element.ts'
import { ignoreStrayFiles } from './view/file-drop.ts'
import { GraphView } from './view/graph-view.ts'
import { HeaderView } from './view/header-view.ts'
import type { PageActions } from './view/page-context.ts'
import { PeopleView } from './view/people-view.ts'

/** One name per tab: it outlives a reload, and two tabs may have different ones. */
const NAME_KEY = 'mesh-playground-name'
/** Hidden pages get no animation frames; what changed is drawn this much later at most. */
const HIDDEN_DRAW_MS = 250
const TITLE = 'MESH playground'

/** The page: one client, the room of the current party, and the views drawn from them. */
export class App {
  readonly #client: MeshClient
  readonly #defaultParty: string
  readonly #key: Uint8Array
  readonly #header: HeaderView
  readonly #graph: GraphView
  readonly #people: PeopleView
  readonly #chat: ChatView
  #name = cleanName(sessionStorage.getItem(NAME_KEY) ?? '')
  #room: Room
  #selectedId: string | undefined
  #drawPending = false
  #seenEntries = 0

  /** Takes an identity, joins the party of the address and draws into `body`. Rejects when there is no identity to be had. */
  static async start(body: HTMLElement, defaultParty: string): Promise<App> {
    const client = await createClient({ servers: location.origin })
    return new App(client, body, defaultParty)
  }

  private constructor(client: MeshClient, body: HTMLElement, defaultParty: string) {
    this.#client = client
    this.#defaultParty = defaultParty
    this.#key = parsePeerId(client.id)
    const actions = this.#actions()
    this.#header = new HeaderView(actions)
    this.#graph = new GraphView(actions)
    this.#people = new PeopleView(actions)
    this.#chat = new ChatView(actions)
    body.replaceChildren(this.#header.node, this.#main())
    ignoreStrayFiles()
    this.#room = this.#enter(this.#partyOfAddress())
    window.addEventListener('hashchange', () => this.#follow())
    document.addEventListener('visibilitychange', () => this.#draw())
    // Best effort: the server notices by itself, only later.
    window.addEventListener('pagehide', () => void client.close())
    // Back from the browser's cache of pages: what was closed stays closed, so begin again.
    window.addEventListener('pageshow', ({ persisted }) => {
      if (persisted) location.reload()
    })
  }

  get #self(): Author {
    const name = this.#name || nicknameOf(this.#key).text
    return { id: this.#client.id, name, key: this.#key, self: true }
  }

  #main(): HTMLElement {
    const card = (title: string, name: string, ...content: HTMLElement[]) =>
      element(
        'section',
        { class: `card ${name}-card`, 'aria-labelledby': `${name}-title` },
        element('h2', { id: `${name}-title` }, title),
        ...content,
      )
    return element(
      'main',
      {},
      card('Swarm', 'swarm', this.#graph.node, this.#people.node),
      card('Conversation', 'chat', this.#chat.node),
    )
  }

  #actions(): PageActions {
    return {
      say: (text) => void this.#room.say(text, this.#self),
      sendFiles: (peer, files) => this.#room.sendFiles(peer, files),
      select: (id) => {
        this.#selectedId = id
        this.#changed()
      },
      rename: (name) => this.#rename(name),
      moveTo: (partyText) => {
        location.href = partyUrl(new URL(location.href), partyText)
      },
    }
  }

  #rename(name: string): void {
    this.#name = cleanName(name)
    sessionStorage.setItem(NAME_KEY, this.#name)
    this.#room.rename(this.#name)
    this.#changed()
  }

  #partyOfAddress(): string {
    return partyTextOf(new URL(location.href), this.#defaultParty)
  }

  /** The address changed: leave the party it named before, enter the one it names now. */
  #follow(): void {
    const text = this.#partyOfAddress()
    if (text === this.#room.link.text) return
    const previous = this.#room
    this.#selectedId = undefined
    this.#seenEntries = 0
    this.#room = this.#enter(text)
    void previous.close()
  }

  #enter(partyText: string): Room {
    const problem = partyProblem(partyText)
    const room = new Room({
      client: this.#client,
      // Somebody who mistyped an address lands in the default party, and is told.
      link: parsePartyText(problem === undefined ? partyText : this.#defaultParty),
      name: this.#name,
      changed: () => this.#changed(),
    })
    if (problem !== undefined) room.tell(`The address names no party. ${problem}`)
    void room.enter()
    this.#changed()
    return room
  }

  /** Draws soon, once for whatever else changes until then. */
  #changed(): void {
    if (this.#drawPending) return
    this.#drawPending = true
    const draw = () => {
      this.#drawPending = false
      this.#draw()
    }
    if (document.hidden) setTimeout(draw, HIDDEN_DRAW_MS)
    else requestAnimationFrame(draw)
  }

  #draw(): void {
    const state = { room: this.#room, self: this.#self, selectedId: this.#selectedId }
    for (const view of [this.#header, this.#graph, this.#people, this.#chat]) view.update(state)
    const entries = this.#room.timeline.entries.at(-1)?.number ?? 0
    if (!document.hidden) this.#seenEntries = entries
    const unread = entries - this.#seenEntries
    document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE
  }
}
