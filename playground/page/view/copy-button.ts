import { button } from './element.ts'

const SHOWN_MS = 1_600

/** A button that puts `text()` on the clipboard and says so. */
export function copyButton(
  label: string,
  text: () => string,
  attributes: Record<string, string> = {},
): HTMLButtonElement {
  let timer: ReturnType<typeof setTimeout> | undefined
  const say = (words: string) => {
    node.textContent = words
    clearTimeout(timer)
    timer = setTimeout(() => {
      node.textContent = label
    }, SHOWN_MS)
  }
  const copy = () =>
    navigator.clipboard.writeText(text()).then(
      () => say('Copied'),
      () => say('Not allowed'),
    )
  const node = button(label, { class: 'quiet', ...attributes }, () => void copy())
  return node
}
