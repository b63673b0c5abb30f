import { App } from './app.ts'
import { explain } from './explain.ts'
import { element } from './view/element.ts'

/** What the page cannot be without; undefined when everything is there. */
function missingFeature(): string | undefined {
  if (!isSecureContext) {
    return 'Browsers give keys only to safe pages. Open this one at https:// or at http://localhost.'
  }
  if (!('locks' in navigator) || !('indexedDB' in globalThis) || !crypto.subtle) {
    return 'This browser is too old: the page needs WebCrypto, IndexedDB and Web Locks.'
  }
  return undefined
}

function showFailure(words: string): void {
  const reload = element('a', { class: 'button primary', href: '' }, 'Try again')
  document.body.replaceChildren(
    element(
      'main',
      { class: 'failure', role: 'alert' },
      element('h1', {}, 'MESH playground'),
      element('p', {}, words),
      reload,
    ),
  )
}

const problem = missingFeature()
if (problem !== undefined) {
  showFailure(problem)
} else {
  const party = document.querySelector('meta[name="mesh-party"]')?.getAttribute('content') || 'playground'
  App.start(document.body, party).catch((error: unknown) => showFailure(explain(error)))
}
