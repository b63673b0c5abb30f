import { MAX_NAME_LENGTH } from '../../peer/profile.ts'
import { shortId } from '../../peer/short-id.ts'
import { partyProblem, partyUrl } from '../party-link.ts'
import type { RoomStatus } from '../room.ts'
import { avatar } from './avatar.ts'
import { copyButton } from './copy-button.ts'
import { element, setAttributes, setText, svgElement } from './element.ts'
import type { PageActions, PageState } from './page-context.ts'

/** Which party this is, who this peer is in it, and whether the server is in reach. */
export class HeaderView {
  readonly node: HTMLElement
  readonly #actions: PageActions
  readonly #party = element('input', { id: 'party', maxlength: 256, autocomplete: 'off', spellcheck: 'false' })
  readonly #name = element('input', {
    id: 'name',
    maxlength: MAX_NAME_LENGTH,
    autocomplete: 'off',
    spellcheck: 'false',
  })
  readonly #face = element('span', { class: 'face' })
  readonly #id = copyButton('', () => this.#state?.self.id ?? '', { class: 'quiet id-copy' })
  readonly #status = element('p', { class: 'status', role: 'status' })
  readonly #why = element('p', { class: 'why', role: 'status' })
  #state: PageState | undefined

  constructor(actions: PageActions) {
    this.#actions = actions
    this.node = element(
      'header',
      { class: 'top' },
      element('h1', {}, logo(), 'MESH ', element('span', {}, 'playground')),
      this.#partyForm(),
      this.#identityForm(),
      this.#status,
      this.#why,
    )
  }

  update(state: PageState): void {
    const previous = this.#state
    this.#state = state
    if (previous?.room !== state.room) this.#party.value = state.room.link.text
    if (previous?.self.id !== state.self.id) {
      this.#face.replaceChildren(avatar(state.self.key))
      this.#id.label = shortId(state.self.id)
      setAttributes(this.#id.node, { title: state.self.id, 'aria-label': `Copy your id, ${state.self.id}` })
    }
    if (document.activeElement !== this.#name) this.#name.value = state.self.name
    const { words, why, tone } = describeStatus(state.room.status)
    setText(this.#status, words)
    setText(this.#why, why)
    for (const node of [this.#status, this.#why]) setAttributes(node, { 'data-tone': tone })
  }

  #partyForm(): HTMLFormElement {
    const go = element('button', { class: 'quiet' }, 'Go')
    const share = copyButton('Copy link', () => partyUrl(new URL(location.href), this.#state?.room.link.text ?? ''))
    const form = element(
      'form',
      { class: 'field party' },
      element('label', { for: 'party' }, 'Party'),
      this.#party,
      go,
      share.node,
    )
    const check = () => {
      const text = this.#party.value.trim()
      go.hidden = text === (this.#state?.room.link.text ?? '')
      this.#party.setCustomValidity(partyProblem(text) ?? '')
    }
    go.hidden = true
    this.#party.addEventListener('input', check)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const text = this.#party.value.trim()
      go.hidden = true
      this.#party.blur()
      if (text !== this.#state?.room.link.text) this.#actions.moveTo(text)
    })
    return form
  }

  #identityForm(): HTMLFormElement {
    const form = element(
      'form',
      { class: 'field identity' },
      this.#face,
      element('label', { for: 'name' }, 'You are'),
      this.#name,
      this.#id.node,
    )
    const save = () => this.#actions.rename(this.#name.value)
    this.#name.addEventListener('change', save)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#name.blur()
    })
    return form
  }
}

/** Where things stand, in words; `why` says more when something is not as it should be. */
export function describeStatus(status: RoomStatus): {
  readonly words: string
  readonly why: string
  readonly tone: 'good' | 'wait' | 'bad'
} {
  switch (status.kind) {
    case 'joined':
      return { words: 'In the party', why: '', tone: 'good' }
    case 'joining':
      return { words: 'Joining', why: status.why ? `${status.why} Trying again…` : '', tone: 'wait' }
    case 'reconnecting':
      return {
        words: 'Reconnecting',
        why: `${status.why} Direct connections go on; trying again…`.trimStart(),
        tone: 'wait',
      }
    case 'failed':
      return { words: 'Not connected', why: status.why, tone: 'bad' }
  }
}

function logo(): SVGSVGElement {
  return svgElement(
    'svg',
    { class: 'logo', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    svgElement('path', { d: 'M8 23 16 8l8 15z' }),
    svgElement('circle', { cx: 16, cy: 8, r: 4.5 }),
    svgElement('circle', { cx: 8, cy: 23, r: 4.5 }),
    svgElement('circle', { cx: 24, cy: 23, r: 4.5 }),
  )
}
