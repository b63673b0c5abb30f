import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { jsonLogger } from './log.ts'
import { Metrics } from './metrics.ts'

const gauges = { sessions: 1, streams: 2, topics: 3, members: 4, heldEnvelopes: 5, connections: 6, uptimeSeconds: 7 }

const origin = {
  key: new Uint8Array(32).fill(0xab),
  epoch: 1n,
  seq: 10n,
  head: 12n,
  rows: 3,
  digest: new Uint8Array(32),
  state: 'hidden' as const,
  via: undefined,
  msSinceState: 15_000.4,
}
const federation = {
  realm: 'test',
  key: origin.key,
  origins: [origin],
  neighbours: [
    {
      key: origin.key,
      url: undefined,
      directory: true,
      messages: false,
      upMs: { directory: 1, messages: undefined },
      rttMs: 1,
      lastError: undefined,
    },
  ],
}

test.each([[undefined], [federation]])('metrics are valid Prometheus text with a type for every family', (status) => {
  const metrics = new Metrics()
  metrics.envelopes.add('held', 3)
  const text = metrics.render(gauges, status)
  expect(text).toContain('mesh_envelopes_total{outcome="held"} 3\n')
  expect(text).toContain('mesh_members 4\n')
  expect(text.includes('mesh_federation')).toBe(status !== undefined)
  const families = new Set([...text.matchAll(/^([a-z_]+)[ {]/gm)].map(([, name]) => name))
  for (const family of families) expect(text).toMatch(new RegExp(`# TYPE ${family} (counter|gauge)`))
  for (const line of text.trimEnd().split('\n'))
    expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_]+(\{[a-z]+="[a-z0-9_]+"\})? \d+)$/)
})

test('metrics of a federated server tell of every origin and of both channels', () => {
  const metrics = new Metrics()
  metrics.federationRefused.add('realm_mismatch')
  metrics.federationEnvelopes.add('received', 2)
  const lines = metrics.render(gauges, federation).split('\n')
  const label = `{origin="${'ab'.repeat(32)}"}`
  for (const line of [
    'mesh_federation_servers{channel="directory"} 1',
    'mesh_federation_servers{channel="messages"} 0',
    `mesh_federation_origin_live${label} 0`,
    `mesh_federation_rows${label} 3`,
    `mesh_federation_lag_entries${label} 2`,
    `mesh_federation_state_age_ms${label} 15000`,
    'mesh_federation_refused_total{reason="realm_mismatch"} 1',
    'mesh_federation_envelopes_total{outcome="received"} 2',
  ])
    expect(lines).toContain(line)
})

test('every metric is in the table of docs/operations.md, and no other', async () => {
  const text = await readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
  const rows = text.split('\n').filter((line) => line.startsWith('| `mesh_'))
  const documented = rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/mesh_[a-z_]+/g)].map(([name]) => name),
  )
  const families = [...new Metrics().render(gauges, federation).matchAll(/^# TYPE ([a-z_]+)/gm)].map(([, name]) => name)
  expect(documented.sort()).toEqual(families.sort())
})

test('a log entry is one line of JSON', () => {
  const lines: string[] = []
  jsonLogger(
    (line) => lines.push(line),
    () => 0,
  )('warn', 'slow_reader', { limit: 'a\nb' })
  expect(lines).toEqual(['{"time":"1970-01-01T00:00:00.000Z","level":"warn","event":"slow_reader","limit":"a\\nb"}\n'])
})
