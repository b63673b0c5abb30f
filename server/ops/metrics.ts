import { renderFederationGauges } from './federation-metrics.ts'
import type { FederationStatus } from './federation-status.ts'

/** Prometheus text format 0.0.4. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** A counter with one label from a fixed set of values, so that the number of series is bounded by construction. */
export class Counter<L extends string> {
  readonly name: string
  readonly help: string
  readonly #label: string
  readonly #values: Map<L, number>

  constructor(name: string, help: string, label: string, labels: readonly L[]) {
    this.name = name
    this.help = help
    this.#label = label
    this.#values = new Map(labels.map((value) => [value, 0]))
  }

  add(label: L, count = 1): void {
    this.#values.set(label, (this.#values.get(label) ?? 0) + count)
  }

  get(label: L): number {
    return this.#values.get(label) ?? 0
  }

  render(): string {
    const lines = [...this.#values].map(([value, count]) => `${this.name}{${this.#label}="${value}"} ${count}`)
    return [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} counter`, ...lines].join('\n')
  }
}

/** Values that are read when somebody asks. */
export interface Gauges {
  readonly sessions: number
  readonly streams: number
  readonly topics: number
  readonly members: number
  readonly heldEnvelopes: number
  readonly connections: number
  readonly uptimeSeconds: number
}

const GAUGE_HELP: Readonly<Record<keyof Gauges, readonly [name: string, help: string]>> = {
  sessions: ['mesh_sessions', 'Live sessions.'],
  streams: ['mesh_streams', 'Open Subscribe and Exchange streams.'],
  topics: ['mesh_topics', 'Topics with a member or a recent one.'],
  members: ['mesh_members', 'Memberships.'],
  heldEnvelopes: ['mesh_held_envelopes', 'Envelopes held for absent recipients.'],
  connections: ['mesh_connections', 'Open connections.'],
  uptimeSeconds: ['mesh_uptime_seconds', 'Seconds since the server started to listen.'],
}

/** Everything the server counts, in Prometheus text format 0.0.4. */
export class Metrics {
  readonly calls = new Counter('mesh_calls_total', 'Calls by how they ended.', 'code', ['ok', 'refused', 'failed'])
  readonly sessionsOpened = new Counter('mesh_sessions_opened_total', 'Sessions opened.', 'kind', ['new', 'renewed'])
  readonly sessionsEnded = new Counter('mesh_sessions_ended_total', 'Sessions ended, by reason.', 'reason', [
    'closed',
    'expired',
    'replaced',
    'moved',
    'stopped',
  ])
  readonly envelopes = new Counter('mesh_envelopes_total', 'Envelopes by outcome.', 'outcome', [
    'delivered',
    'held',
    'refused',
  ])
  readonly membershipChanges = new Counter('mesh_membership_changes_total', 'Changes of topics.', 'kind', [
    'joined',
    'updated',
    'left',
  ])
  readonly streamsEnded = new Counter('mesh_streams_ended_total', 'Streams the server ended, by reason.', 'reason', [
    'slow_reader',
    'token_expired',
    'draining',
    'session',
  ])
  readonly rejectedRequests = new Counter(
    'mesh_rejected_requests_total',
    'Requests refused before any call.',
    'reason',
    ['host', 'origin'],
  )
  /** Whom this server turned away as a neighbour; the labels are names of `ErrorReason` in lower case. */
  readonly federationRefused = new Counter<string>(
    'mesh_federation_refused_total',
    'Streams with other servers that were refused or ended for what the other did.',
    'reason',
    [],
  )
  readonly federationEnvelopes = new Counter(
    'mesh_federation_envelopes_total',
    'Envelopes that crossed between servers.',
    'outcome',
    ['delivered', 'held', 'absent', 'received'],
  )
  readonly lanes = new Counter('mesh_lane_calls_total', 'Calls by the lane that served them.', 'lane', ['fast', 'full'])

  /** `federation`: undefined on a server that stands alone. */
  render(gauges: Gauges, federation?: FederationStatus): string {
    const counters = [
      this.calls,
      this.sessionsOpened,
      this.sessionsEnded,
      this.envelopes,
      this.membershipChanges,
      this.streamsEnded,
      this.rejectedRequests,
      this.lanes,
      ...(federation === undefined ? [] : [this.federationRefused, this.federationEnvelopes]),
    ].map((counter) => counter.render())
    const values = (Object.keys(GAUGE_HELP) as (keyof Gauges)[]).map((key) => {
      const [name, help] = GAUGE_HELP[key]
      return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${gauges[key]}`
    })
    const federated = federation === undefined ? [] : [renderFederationGauges(federation)]
    return `${[...counters, ...values, ...federated].join('\n')}\n`
  }
}
