import type { Peer } from '@mesh/client'
import { count } from '../../peer/format.ts'
import { decodeProfile, displayName } from '../../peer/profile.ts'
import { shortId } from '../../peer/short-id.ts'
import { describeConnection } from '../connection-words.ts'
import { avatar } from './avatar.ts'
import { button, element, setAttributes, setText } from './element.ts'
import { acceptFiles, chooseFiles } from './file-drop.ts'
import { type ItemView, KeyedList } from './keyed-list.ts'
import type { PageActions, PageState } from './page-context.ts'
import { PeerDetails } from './peer-details.ts'

/** Everybody this peer is linked to: the same as the drawing, for reading, keyboards and screen readers. */
export class PeopleView {
  readonly node: HTMLElement
  readonly #actions: PageActions
  readonly #people: KeyedList<Peer>
  readonly #empty = element('div', { class: 'empty' })
  readonly #more = element('p', { class: 'more' })
  #state: PageState | undefined

  constructor(actions: PageActions) {
    this.#actions = actions
    const list = element('ul', { class: 'people', 'aria-label': 'People in the party' })
    this.#people = new KeyedList(
      list,
      ({ id }) => id,
      (peer) => this.#person(peer),
    )
    this.node = element('div', {}, list, this.#empty, this.#more)
  }

  update(state: PageState): void {
    this.#state = state
    const { peers, missingCount, status } = state.room
    this.#people.update(peers)
    this.#empty.hidden = peers.length > 0
    setText(
      this.#empty,
      status.kind === 'joined' ? 'Nobody else is here yet. Open this page in another tab, or share the link.' : '',
    )
    this.#more.hidden = missingCount === 0
    setText(this.#more, missingCount === 0 ? '' : `${count(missingCount, 'other')} listed, not connected yet`)
  }

  #person(first: Peer): ItemView<Peer> {
    let peer = first
    const name = element('span', { class: 'name' })
    const kind = element('span', { class: 'tag' }, 'program')
    const path = element('span', {})
    const rtt = element('span', { class: 'person-rtt' })
    const details = new PeerDetails()
    const toggle = button('Details', { class: 'quiet', 'aria-expanded': 'false' }, () => {
      this.#actions.select(this.#state?.selectedId === peer.id ? undefined : peer.id)
    })
    const send = button('Send file', { class: 'quiet' }, () => {
      chooseFiles((files) => this.#actions.sendFiles(peer, files))
    })
    const who = element(
      'div',
      { class: 'who' },
      element('div', { class: 'name-line' }, name, kind),
      element('code', { class: 'id', title: peer.id }, shortId(peer.id)),
    )
    const link = element('div', { class: 'person-link' }, path, rtt)
    const actions = element('div', { class: 'person-actions' }, send, toggle)
    const row = element('div', { class: 'person-row' }, avatar(peer.key), who, link, actions)
    const node = element('li', { class: 'person' }, row, details.node)
    acceptFiles(node, (files) => this.#actions.sendFiles(peer, files))
    return {
      node,
      update: (next) => {
        peer = next
        const { name: ownName, bot } = decodeProfile(peer.state)
        setText(name, ownName ?? displayName(peer))
        kind.hidden = !bot
        const { words, tone, aside } = describeConnection(peer, Date.now())
        setText(path, words)
        setAttributes(path, { class: `path-badge path-${tone}` })
        setText(rtt, aside)
        send.setAttribute('aria-label', `Send a file to ${displayName(peer)}`)
        this.#showDetails(peer, toggle, details)
      },
    }
  }

  #showDetails(peer: Peer, toggle: HTMLButtonElement, details: PeerDetails): void {
    const open = this.#state?.selectedId === peer.id
    toggle.setAttribute('aria-expanded', String(open))
    toggle.setAttribute('aria-label', `Details of the connection to ${displayName(peer)}`)
    details.update(open ? peer : undefined)
  }
}
