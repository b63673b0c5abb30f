import type { Entry } from '../timeline.ts'
import { button, element } from './element.ts'
import { entryView } from './entry-view.ts'
import { KeyedList } from './keyed-list.ts'
import type { PageActions, PageState } from './page-context.ts'

/** Closer to the end than this counts as reading along. */
const NEAR_END_PX = 80
/** Far below the 16 MiB a message may have; a person writes less. */
const MAX_CHARACTERS = 8_000

/** What was said and sent, and the place to say something. */
export class ChatView {
  readonly node: HTMLElement
  readonly #list = element('ol', { class: 'entries', role: 'log', 'aria-label': 'Conversation', tabindex: 0 })
  readonly #entries: KeyedList<Entry>
  readonly #latest: HTMLButtonElement
  readonly #input: HTMLTextAreaElement
  #followed = true

  constructor(actions: PageActions) {
    this.#entries = new KeyedList(this.#list, ({ number }) => String(number), entryView)
    this.#list.addEventListener('scroll', () => this.#onScroll(), { passive: true })
    new ResizeObserver(() => {
      if (this.#followed) this.#scrollToEnd()
    }).observe(this.#list)
    this.#latest = button('Latest ↓', { class: 'latest', hidden: true }, () => this.#scrollToEnd())
    this.#input = element('textarea', {
      rows: 1,
      maxlength: MAX_CHARACTERS,
      placeholder: 'Message everybody',
      'aria-label': 'Message to everybody',
      enterkeyhint: 'send',
    })
    this.node = element('div', { class: 'chat' }, this.#list, this.#latest, this.#composer(actions))
  }

  update({ room }: PageState): void {
    const added = this.#entries.update(room.timeline.entries)
    if (this.#followed) this.#scrollToEnd()
    else if (added) this.#latest.hidden = false
  }

  #composer(actions: PageActions): HTMLFormElement {
    const form = element('form', { class: 'composer' }, this.#input, element('button', { class: 'primary' }, 'Send'))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const text = this.#input.value.trim()
      if (text === '') return
      this.#input.value = ''
      this.#followed = true
      actions.say(text)
    })
    this.#input.addEventListener('keydown', (event) => {
      // isComposing: Enter that only confirms an input method's suggestion.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      form.requestSubmit()
    })
    return form
  }

  #onScroll(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#list
    this.#followed = scrollHeight - scrollTop - clientHeight < NEAR_END_PX
    if (this.#followed) this.#latest.hidden = true
  }

  #scrollToEnd(): void {
    this.#list.scrollTop = this.#list.scrollHeight
    this.#latest.hidden = true
  }
}
