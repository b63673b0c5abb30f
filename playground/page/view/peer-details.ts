import type { Diagnosis, Peer } from '@mesh/client'
import { count, formatRtt } from '../../peer/format.ts'
import { directButtonWords } from '../connection-words.ts'
import { explain } from '../explain.ts'
import { copyButton } from './copy-button.ts'
import { button, element, setText } from './element.ts'

type Row = readonly [term: string, words: string]

/** What `peer.diagnose()` says, in words. */
export class PeerDetails {
  readonly node = element('div', { class: 'details', hidden: true })
  readonly #id = element('code', { class: 'full-id' })
  readonly #rows = element('dl')
  readonly #advice = element('ul', { class: 'advice' })
  readonly #direct: HTMLButtonElement
  #peer: Peer | undefined

  constructor() {
    const id = element('div', { class: 'details-id' }, this.#id, copyButton('Copy id', () => this.#peer?.id ?? '').node)
    this.#direct = button('', { class: 'quiet' }, () => this.#toggleDirect())
    this.node.append(id, element('div', { class: 'details-actions' }, this.#direct), this.#rows, this.#advice)
  }

  /** Shows a peer, or hides. Called again and again, it keeps the facts current. */
  update(peer: Peer | undefined): void {
    this.#peer = peer
    this.node.hidden = peer === undefined
    if (!peer) return
    setText(this.#id, peer.id)
    setText(this.#direct, directButtonWords(peer.directAllowed))
    this.#direct.setAttribute('aria-pressed', String(!peer.directAllowed))
    void peer.diagnose().then((diagnosis) => {
      if (this.#peer === peer) this.#show(diagnosis)
    })
  }

  /** As if something between the two began to block it, or stopped to: messages go on through the server meanwhile. */
  #toggleDirect(): void {
    const peer = this.#peer
    if (!peer) return
    peer.allowDirect(!peer.directAllowed)
    this.update(peer)
  }

  #show(diagnosis: Diagnosis): void {
    const rows = describeDiagnosis(diagnosis)
    // The same rows in the same order nearly always: only their words change.
    if (this.#rows.childElementCount !== rows.length * 2) {
      this.#rows.replaceChildren(...rows.flatMap(() => [element('dt'), element('dd')]))
    }
    for (const [index, [term, words]] of rows.entries()) {
      setText(this.#rows.children[index * 2] as Element, term)
      setText(this.#rows.children[index * 2 + 1] as Element, words)
    }
    const advice = diagnosis.advice.join('\n')
    if (this.#advice.dataset.text === advice) return
    this.#advice.dataset.text = advice
    this.#advice.replaceChildren(...diagnosis.advice.map((sentence) => element('li', {}, sentence)))
  }
}

const CONNECTION_WORDS = {
  idle: 'none at the moment',
  calling: 'being made',
  linked: 'up, encrypted end to end',
} as const
const PATH_WORDS = { direct: 'direct (WebRTC)', relay: 'through the server', none: 'none' } as const
const DIRECT_WORDS = {
  off: 'off',
  connecting: 'being tried',
  open: 'open',
  waiting: 'waiting before the next try',
} as const

/** Facts of a diagnosis, as people read them. */
export function describeDiagnosis({ connection, path, rttMs, direct, packets, error }: Diagnosis): readonly Row[] {
  const { local, remote } = direct.candidates
  const tries = direct.attempts === 0 ? '' : `, ${count(direct.attempts, 'try', 'tries')}`
  const refused = packets.replayed + packets.rejected
  const rows: (Row | undefined)[] = [
    ['Connection', CONNECTION_WORDS[connection]],
    ['Messages travel', PATH_WORDS[path]],
    ['Round trip', formatRtt(rttMs)],
    ['Direct path', `${DIRECT_WORDS[direct.state]}${tries}`],
    ['Addresses found', `${local} here, ${remote} there`],
    direct.error && ['Last direct failure', explain(direct.error)],
    error && ['Last failure', explain(error)],
    ['Packets', `${packets.sent} sent, ${packets.received} received`],
    refused > 0 ? ['Packets refused', `${packets.replayed} repeated, ${packets.rejected} not genuine`] : undefined,
  ]
  return rows.filter((row) => row !== undefined)
}
