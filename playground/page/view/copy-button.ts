import { type Attributes, button, element, setText, svgElement } from './element.ts'

const SHOWN_MS = 1_600

/** A button that puts `text()` on the clipboard and says so. */
export interface CopyButton {
  readonly node: HTMLButtonElement
  label: string
}

export function copyButton(label: string, text: () => string, attributes: Attributes = { class: 'quiet' }): CopyButton {
  const words = element('span', {}, label)
  let current = label
  let timer: ReturnType<typeof setTimeout> | undefined
  const say = (answer: string) => {
    setText(words, answer)
    clearTimeout(timer)
    timer = setTimeout(() => {
      timer = undefined
      setText(words, current)
    }, SHOWN_MS)
  }
  const copy = () =>
    navigator.clipboard.writeText(text()).then(
      () => say('Copied'),
      () => say('Not allowed'),
    )
  const node = button('', { ...attributes, 'data-copy': true }, () => void copy())
  node.append(words, icon())
  return {
    node,
    get label() {
      return current
    },
    set label(next) {
      current = next
      if (timer === undefined) setText(words, next)
    },
  }
}

/** Two sheets, one on the other. */
function icon(): SVGSVGElement {
  return svgElement(
    'svg',
    { viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    svgElement('rect', { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.8 }),
    svgElement('path', { d: 'M10.5 3.2A1.7 1.7 0 0 0 9 2.5H4.2a1.7 1.7 0 0 0-1.7 1.7V9a1.7 1.7 0 0 0 .7 1.5' }),
  )
}
