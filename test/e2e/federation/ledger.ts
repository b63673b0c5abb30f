import { quantile } from './quantile.ts'

/** What became of a message, as its sender was told. */
export type ReportedOutcome = 'delivered' | 'held' | 'refused' | 'unknown'

interface MessageEntry {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly sentMs: number
  outcome: ReportedOutcome
  reason: string
  settledMs: number
  readonly receivedMs: number[]
  /** The recipient's session of each. */
  readonly receivedIn: string[]
}

interface Departure {
  readonly observer: string
  readonly subject: string
  readonly reason: string
  readonly atMs: number
}

/** Time in which a peer was without the session it had had: its stream broke, and the server did not know it any more. */
interface LostSession {
  readonly fromMs: number
  readonly toMs: number
}

export interface LedgerVerdict {
  readonly sent: number
  readonly outcomes: Readonly<Record<ReportedOutcome, number>>
  /** Reasons of refusals, with how many there were. */
  readonly refusals: Readonly<Record<string, number>>
  /** Reported delivered and never received, without an excuse. */
  readonly lost: readonly string[]
  /** The same, but the recipient's session died with its server at that moment: it was on its stream, and the stream was cut. */
  readonly cutOff: number
  /** Received twice in one session. */
  readonly twice: readonly string[]
  /**
   * Received again in another session: the server of the first one died before its receipt had left, and servers keep
   * nothing. Clients drop these by id; the SDK does.
   */
  readonly again: number
  /** Received before an earlier message of the same sender. */
  readonly overtaken: number
  /** Peers said to have left that had not. */
  readonly falseDepartures: readonly string[]
  /** How often a peer that had lost its session joined again and was not told of one it had known, that was there. */
  readonly missing: number
}

/** A message handed to a session less than this before its stream was cut may not have been read by then. */
const CUT_MARGIN_MS = 1_000
/** A departure may be told that long before the caller of `gone` gets to say so. */
const GONE_MARGIN_MS = 50

/**
 * What peers sent, were told, and saw. All times are of one monotonic clock in milliseconds. It judges nothing until
 * `verdict` is called, and then everything it was told.
 */
export class Ledger {
  readonly #messages = new Map<string, MessageEntry>()
  readonly #unannounced: { readonly id: string; readonly by: string }[] = []
  readonly #departures: Departure[] = []
  readonly #arrivals: { readonly observer: string; readonly subject: string; readonly atMs: number }[] = []
  /** Spans of time in which a peer was not there; the last one may be open. */
  readonly #absences = new Map<string, { readonly fromMs: number; toMs: number }[]>()
  readonly #lostSessions = new Map<string, LostSession[]>()
  readonly #missing: { readonly observer: string; readonly subject: string; readonly atMs: number }[] = []

  sent(id: string, from: string, to: string, atMs: number): void {
    this.#messages.set(id, {
      id,
      from,
      to,
      sentMs: atMs,
      outcome: 'unknown',
      reason: '',
      settledMs: Number.POSITIVE_INFINITY,
      receivedMs: [],
      receivedIn: [],
    })
  }

  settled(id: string, outcome: ReportedOutcome, atMs: number, reason = ''): void {
    const entry = this.#messages.get(id)
    if (entry === undefined) return
    entry.outcome = outcome
    entry.reason = reason
    entry.settledMs = atMs
  }

  /** `session`: which of the recipient's sessions it came in. */
  received(id: string, by: string, atMs: number, session = ''): void {
    const entry = this.#messages.get(id)
    if (entry?.to !== by) {
      this.#unannounced.push({ id, by })
      return
    }
    entry.receivedMs.push(atMs)
    entry.receivedIn.push(session)
  }

  sessionLost(peer: string, fromMs: number, toMs: number): void {
    const lost = this.#lostSessions.get(peer) ?? []
    lost.push({ fromMs, toMs })
    this.#lostSessions.set(peer, lost)
  }

  joined(observer: string, subject: string, atMs: number): void {
    this.#arrivals.push({ observer, subject, atMs })
  }

  left(observer: string, subject: string, atMs: number, reason: string): void {
    this.#departures.push({ observer, subject, atMs, reason })
  }

  /** A fresh Join did not list a peer that was listed before. */
  missing(observer: string, subject: string, atMs: number): void {
    this.#missing.push({ observer, subject, atMs })
  }

  /** The truth: from now on this peer is not there. */
  gone(subject: string, atMs: number): void {
    this.#absences.set(subject, [...this.#absencesOf(subject), { fromMs: atMs, toMs: Number.POSITIVE_INFINITY }])
  }

  /** The truth: it is there again. */
  back(subject: string, atMs: number): void {
    const last = this.#absencesOf(subject).at(-1)
    if (last !== undefined) last.toMs = atMs
  }

  /** Milliseconds from the disappearance of a peer to the moment each of the observers heard of it; those that did not: infinity. */
  ghostMs(subject: string, observers: readonly string[]): number[] {
    const goneMs = this.#absencesOf(subject).at(-1)?.fromMs ?? 0
    return observers.map((observer) => {
      const heard = this.#departures.find(
        (departure) => departure.observer === observer && departure.subject === subject && departure.atMs >= goneMs,
      )
      return heard === undefined ? Number.POSITIVE_INFINITY : heard.atMs - goneMs
    })
  }

  /** Milliseconds from `sinceMs` until each observer heard that a peer joined; those that did not: infinity. */
  arrivalMs(subject: string, observers: readonly string[], sinceMs: number): number[] {
    return observers.map((observer) => {
      const heard = this.#arrivals.find(
        (arrival) => arrival.observer === observer && arrival.subject === subject && arrival.atMs >= sinceMs,
      )
      return heard === undefined ? Number.POSITIVE_INFINITY : heard.atMs - sinceMs
    })
  }

  /** p50 and p99 of the way of messages sent in a span of time, in milliseconds. */
  latency(fits: (from: string, to: string) => boolean, fromMs = 0, toMs = Number.POSITIVE_INFINITY): Latency {
    const times: number[] = []
    for (const { from, to, sentMs, receivedMs } of this.#messages.values()) {
      if (receivedMs.length > 0 && sentMs >= fromMs && sentMs < toMs && fits(from, to)) {
        times.push((receivedMs[0] as number) - sentMs)
      }
    }
    return { count: times.length, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99), maxMs: quantile(times, 1) }
  }

  /** Longest time in a span without a single delivery to those that fit, in milliseconds. */
  longestSilence(fits: (from: string, to: string) => boolean, fromMs: number, toMs: number): number {
    const times = [...this.#messages.values()]
      .filter(({ from, to }) => fits(from, to))
      .flatMap(({ receivedMs }) => receivedMs.slice(0, 1))
      .filter((atMs) => atMs >= fromMs && atMs <= toMs)
      .sort((a, b) => a - b)
    const marks = [fromMs, ...times, toMs]
    return Math.max(...marks.slice(1).map((atMs, index) => atMs - (marks[index] as number)))
  }

  verdict(): LedgerVerdict {
    const outcomes = { delivered: 0, held: 0, refused: 0, unknown: 0 }
    const refusals: Record<string, number> = {}
    const lost: string[] = []
    const twice: string[] = []
    let cutOff = 0
    let again = 0
    for (const entry of this.#messages.values()) {
      outcomes[entry.outcome]++
      if (entry.outcome === 'refused') refusals[entry.reason] = (refusals[entry.reason] ?? 0) + 1
      const sessions = new Set(entry.receivedIn).size
      if (entry.receivedIn.length > sessions) twice.push(this.#describe(entry))
      if (sessions > 1) again++
      if (entry.outcome !== 'delivered' || entry.receivedMs.length > 0) continue
      if (this.#wasCutOff(entry)) cutOff++
      else lost.push(this.#describe(entry))
    }
    twice.push(...this.#unannounced.map(({ id, by }) => `${by} received ${id}, which nobody sent to it`))
    const falseDepartures = this.#departures.filter(({ subject, atMs }) => !this.#isAbsent(subject, atMs))
    return {
      sent: this.#messages.size,
      outcomes,
      refusals,
      lost,
      cutOff,
      twice,
      again,
      overtaken: this.#overtaken(),
      falseDepartures: falseDepartures.map(
        ({ observer, subject, reason, atMs }) =>
          `${observer} heard at ${Math.round(atMs)} that ${subject} left: ${reason}`,
      ),
      missing: this.#missing.filter(({ subject, atMs }) => !this.#isAbsent(subject, atMs)).length,
    }
  }

  #isAbsent(subject: string, atMs: number): boolean {
    return this.#absencesOf(subject).some(({ fromMs, toMs }) => atMs >= fromMs - GONE_MARGIN_MS && atMs <= toMs)
  }

  #absencesOf(subject: string): { readonly fromMs: number; toMs: number }[] {
    return this.#absences.get(subject) ?? []
  }

  #wasCutOff({ to, sentMs, settledMs }: MessageEntry): boolean {
    const lost = this.#lostSessions.get(to) ?? []
    return lost.some(({ fromMs, toMs }) => sentMs <= toMs && settledMs >= fromMs - CUT_MARGIN_MS)
  }

  #overtaken(): number {
    const lines = new Map<string, number>()
    const arrivals = [...this.#messages.values()].filter(({ receivedMs }) => receivedMs.length > 0)
    let count = 0
    // In the order of sending: one that came before a predecessor overtook it.
    for (const { from, to, receivedMs } of arrivals) {
      const line = `${from} ${to}`
      const latest = lines.get(line) ?? 0
      const atMs = receivedMs[0] as number
      if (atMs < latest) count++
      lines.set(line, Math.max(latest, atMs))
    }
    return count
  }

  #describe({ id, from, to, sentMs, outcome, settledMs, receivedMs }: MessageEntry): string {
    const received = receivedMs.map((atMs) => Math.round(atMs)).join(', ') || 'never'
    return `${id} from ${from} to ${to}: sent ${Math.round(sentMs)}, ${outcome} ${Math.round(settledMs)}, received ${received}`
  }
}

export interface Latency {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}
