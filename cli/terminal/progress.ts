import type { Clock } from '@mesh/core'
import { formatBytes, formatDuration, formatRate } from '../quantity.ts'
import type { Output } from './output.ts'
import type { Style } from './style.ts'

const REDRAW_MS = 100
const EVENT_MS = 500
const MAX_BAR_CELLS = 30
const LINE_EVERY_PERCENT = 25

/** How far a transfer is. */
export interface Progress {
  readonly doneBytes: number
  readonly totalBytes: number
  readonly elapsedMs: number
}

/**
 * Shows how a transfer goes: a bar at the bottom of a terminal, a line per quarter elsewhere, two events a second for
 * programs.
 */
export class ProgressDisplay {
  readonly #output: Output
  readonly #clock: Clock
  readonly #label: string
  readonly #startMs: number
  readonly #unstick: () => void
  #totalBytes: number
  #doneBytes = 0
  #nextMs = 0
  #nextPercent = LINE_EVERY_PERCENT

  /** `label`: what is transferred, for people; printable. */
  constructor(output: Output, clock: Clock, label: string, totalBytes: number) {
    this.#output = output
    this.#clock = clock
    this.#label = label
    this.#totalBytes = totalBytes
    this.#startMs = clock.monotonicMs()
    this.#unstick = output.interactive
      ? output.stick({ draw: () => this.#draw(), clear: () => output.raw('\r\u001b[K') })
      : () => {}
  }

  get elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#startMs
  }

  /** Another receiver of the same file: that much more to do. */
  extend(bytes: number): void {
    this.#totalBytes += bytes
  }

  advance(bytes: number): void {
    this.#doneBytes += bytes
    if (this.#output.interactive) this.#throttled(REDRAW_MS, () => this.#draw())
    else if (this.#output.json) this.#throttled(EVENT_MS, () => this.#emit())
    else this.#line()
  }

  /** Takes the bar away. Idempotent. */
  stop(): void {
    this.#unstick()
  }

  #progress(): Progress {
    return { doneBytes: this.#doneBytes, totalBytes: this.#totalBytes, elapsedMs: this.elapsedMs }
  }

  #throttled(everyMs: number, show: () => void): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#nextMs) return
    this.#nextMs = nowMs + everyMs
    show()
  }

  #draw(): void {
    const { style, columns } = this.#output
    this.#output.raw(`\r\u001b[K${renderProgress(this.#label, this.#progress(), columns - 1, style)}`)
  }

  #emit(): void {
    const { doneBytes, totalBytes } = this.#progress()
    this.#output.event('progress', { doneBytes, totalBytes })
  }

  #line(): void {
    const percent = percentOf(this.#progress())
    if (percent < this.#nextPercent || percent === 100) return
    this.#nextPercent = percent - (percent % LINE_EVERY_PERCENT) + LINE_EVERY_PERCENT
    this.#output.remark('progress', {}, `${this.#label}: ${percent}%`)
  }
}

/** One line of at most `columns` characters: "photo.jpg ███████░░░░░ 58% 2.9 of 5.0 MiB 4.2 MiB/s 0.5 s left". */
export function renderProgress(label: string, progress: Progress, columns: number, style: Style): string {
  const { doneBytes, totalBytes, elapsedMs } = progress
  const percent = `${String(percentOf(progress)).padStart(3)}%`
  const leftMs = doneBytes === 0 ? undefined : (elapsedMs * (totalBytes - doneBytes)) / doneBytes
  const details = [
    `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`,
    formatRate(doneBytes, elapsedMs),
    ...(leftMs === undefined ? [] : [`${formatDuration(leftMs)} left`]),
  ]
  const texts = [details.join('  '), details[0] ?? '', '']
  for (const text of texts) {
    const end = text === '' ? percent : `${percent}  ${text}`
    const cells = Math.min(MAX_BAR_CELLS, columns - label.length - end.length - 4)
    if (cells >= 8) return `${label}  ${bar(progress, cells, style)}  ${end}`
  }
  return `${label.slice(0, Math.max(0, columns - percent.length - 1))} ${percent}`
}

function bar(progress: Progress, cells: number, style: Style): string {
  const full = Math.floor((cells * percentOf(progress)) / 100)
  return style.good('█'.repeat(full)) + style.dim('░'.repeat(cells - full))
}

/** 100 only when everything is done. */
function percentOf({ doneBytes, totalBytes }: Progress): number {
  return totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes)
}
