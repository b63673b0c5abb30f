import { gzipSync } from 'node:zlib'
import type { BenchContext, Scenario, ScenarioResult, VariantResult } from '../../harness/scenario.ts'
import { summarize } from '../../harness/stats.ts'
import { type Bundle, bundleForBrowser } from '../../systems/browser/bundle.ts'

const BYTES_PER_KB = 1_000
const TARGET_KB = 60
const LISTED_PACKAGES = 6

interface Entry {
  readonly name: string
  readonly source: string
}

/** Bundles of what an application would write; the small ones are the floor under the SDK. */
const ENTRIES: readonly Entry[] = [
  { name: '@mesh/client, join', source: "export { join } from '@mesh/client'" },
  { name: '@mesh/client, everything', source: "export * from '@mesh/client'" },
  {
    name: 'connect-web and the SignalService stub',
    source: `import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-web'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
export const connect = (baseUrl) => createClient(SignalService, createConnectTransport({ baseUrl, useBinaryFormat: true }))`,
  },
  {
    name: 'one message encoded with protobuf-es',
    source: `import { create, toBinary } from '@bufbuild/protobuf'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
export const encode = (payload) => toBinary(EnvelopeSchema, create(EnvelopeSchema, { payload }))`,
  },
]

/** (e) What a page has to load. */
export const bundleScenario: Scenario = { name: 'bundle', run }

async function run(context: BenchContext): Promise<ScenarioResult> {
  const bundles: Bundle[] = []
  for (const { name, source } of ENTRIES) {
    context.progress(`bundle · ${name}`)
    bundles.push(await bundleForBrowser({ source }))
  }
  const rows = ENTRIES.map(({ name }, index) => describeBundle(name, bundles[index]!))
  return {
    scenario: 'bundle',
    title: 'browser bundle, one ES module',
    metrics: [
      { key: 'minifiedKb', heading: 'minified KB' },
      { key: 'gzipKb', heading: 'min+gzip KB' },
    ],
    rows,
    targets: [
      {
        target: `min+gzip KB of ${ENTRIES[0]!.name}`,
        bound: { atMost: TARGET_KB },
        found: rows[0]!.measurements.gzipKb!,
      },
    ],
    notes: [
      `In the first row, before minification: ${largestPackages(bundles[0]!)}.`,
      'Bundled with rolldown, browser conditions, tree shaking; gzip level 9; 1 KB is 1,000 bytes.',
    ],
  }
}

function describeBundle(variant: string, bundle: Bundle): VariantResult {
  const minified = Buffer.from(bundle.code)
  return {
    variant,
    measurements: {
      minifiedKb: summarize([minified.length / BYTES_PER_KB]),
      gzipKb: summarize([gzipSync(minified, { level: 9 }).length / BYTES_PER_KB]),
    },
  }
}

/** Shares by package, which is what one can act on: "connect 31 %, protobuf 24 %, …". */
function largestPackages(bundle: Bundle): string {
  const bytesByPackage = new Map<string, number>()
  let total = 0
  for (const module of bundle.modules) {
    const name = packageOf(module.id)
    bytesByPackage.set(name, (bytesByPackage.get(name) ?? 0) + module.bytes)
    total += module.bytes
  }
  return [...bytesByPackage]
    .sort((a, b) => b[1] - a[1])
    .slice(0, LISTED_PACKAGES)
    .map(([name, bytes]) => `${name} ${Math.round((bytes / total) * 100)} %`)
    .join(', ')
}

function packageOf(id: string): string {
  const installed = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1]
  const workspace = /\/(core|client|gen)\//.exec(id)?.[1]
  return installed ?? workspace ?? 'bundler'
}
