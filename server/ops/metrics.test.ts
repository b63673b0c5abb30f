import { expect, test } from 'vitest'
import { jsonLogger } from './log.ts'
import { Metrics } from './metrics.ts'

const gauges = { sessions: 1, streams: 2, topics: 3, members: 4, heldEnvelopes: 5, connections: 6, uptimeSeconds: 7 }

test('metrics are valid Prometheus text with a type for every family', () => {
  const metrics = new Metrics()
  metrics.envelopes.add('held', 3)
  const text = metrics.render(gauges)
  expect(text).toContain('mesh_envelopes_total{outcome="held"} 3\n')
  expect(text).toContain('mesh_members 4\n')
  const families = new Set([...text.matchAll(/^([a-z_]+)[ {]/gm)].map(([, name]) => name))
  for (const family of families) expect(text).toMatch(new RegExp(`# TYPE ${family} (counter|gauge)`))
  for (const line of text.trimEnd().split('\n'))
    expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_]+(\{[a-z]+="[a-z_]+"\})? \d+)$/)
})

test('a log entry is one line of JSON', () => {
  const lines: string[] = []
  jsonLogger(
    (line) => lines.push(line),
    () => 0,
  )('warn', 'slow_reader', { limit: 'a\nb' })
  expect(lines).toEqual(['{"time":"1970-01-01T00:00:00.000Z","level":"warn","event":"slow_reader","limit":"a\\nb"}\n'])
})
