import { formatBytes, formatDuration } from '../../peer/format.ts'
import type { Transfer } from '../transfer.ts'
import { button, element, setAttributes, setText } from './element.ts'

/** Less than this, and speed and time left would be guesses. */
const SETTLED_MS = 700

/** One file on its way, with what can be done about it. */
export class TransferCard {
  readonly node = element('div', { class: 'transfer' })
  readonly #transfer: Transfer
  readonly #progress = element('progress', { max: 1 })
  readonly #status = element('p', { class: 'transfer-status' })
  readonly #checksum = element('code', { class: 'checksum' })
  readonly #download = element('a', { class: 'button primary' }, 'Save')
  readonly #accept: HTMLButtonElement
  readonly #cancel: HTMLButtonElement

  constructor(transfer: Transfer) {
    this.#transfer = transfer
    const { name, sizeBytes, partner, direction } = transfer
    this.#accept = button('Accept', { class: 'primary' }, () => transfer.accept())
    this.#cancel = button('Cancel', { class: 'quiet' }, () => transfer.cancel())
    this.#progress.setAttribute('aria-label', `Progress of ${name}`)
    const route = direction === 'out' ? `to ${partner.name}` : `from ${partner.name}`
    this.node.append(
      element('p', { class: 'transfer-name' }, name),
      element('p', { class: 'transfer-route' }, `${formatBytes(sizeBytes)}, ${route}`),
      this.#progress,
      this.#status,
      this.#checksum,
      element('div', { class: 'transfer-actions' }, this.#accept, this.#download, this.#cancel),
    )
  }

  update(): void {
    const { state, direction, sizeBytes, movedBytes } = this.#transfer
    setAttributes(this.node, { 'data-state': state.kind })
    this.#progress.hidden = state.kind !== 'moving'
    this.#progress.value = sizeBytes === 0 ? 1 : movedBytes / sizeBytes
    setText(this.#status, statusOf(this.#transfer))
    this.#checksum.hidden = state.kind !== 'done'
    if (state.kind === 'done') setText(this.#checksum, `SHA-256 ${state.checksum}`)
    this.#accept.hidden = direction === 'out' || state.kind !== 'asking'
    this.#cancel.hidden = state.kind !== 'asking' && state.kind !== 'moving'
    setText(this.#cancel, direction === 'in' && state.kind === 'asking' ? 'Decline' : 'Cancel')
    const url = state.kind === 'done' ? state.url : undefined
    this.#download.hidden = url === undefined
    setAttributes(this.#download, { href: url, download: this.#transfer.name })
  }
}

function statusOf({ state, direction, partner, sizeBytes, movedBytes }: Transfer): string {
  switch (state.kind) {
    case 'asking':
      return direction === 'out' ? `Waiting for ${partner.name} to accept` : `${partner.name} wants to send you this`
    case 'moving':
      return movingStatus(movedBytes, sizeBytes, performance.now() - state.since)
    case 'done':
      return direction === 'out' ? 'Arrived, checksum matches' : 'Received, checksum matches'
    case 'ended':
      return state.why
  }
}

/** "3.1 MB of 12 MB, 4.2 MB/s, 0:02 left". */
export function movingStatus(movedBytes: number, sizeBytes: number, elapsedMs: number): string {
  const amount = `${formatBytes(movedBytes)} of ${formatBytes(sizeBytes)}`
  if (movedBytes === 0 || elapsedMs < SETTLED_MS) return amount
  const bytesPerMs = movedBytes / elapsedMs
  const left = formatDuration((sizeBytes - movedBytes) / bytesPerMs)
  return `${amount}, ${formatBytes(Math.round(bytesPerMs * 1_000))}/s, ${left} left`
}
