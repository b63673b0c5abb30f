import { percentile } from '../../harness/stats.ts'
import { serveWorker } from '../../harness/worker.ts'
import type { LineOptions } from '../../systems/line.ts'
import { loadSystem, type SystemName } from '../../systems/registry.ts'
import { type PacedOptions, RelayDriver, type SaturationOptions } from './driver.ts'

/** Both ends of all lines of one variant live in this process; the server under test is alone in its own. */
const driver = new RelayDriver()

serveWorker({
  async open(options: LineOptions & { system: SystemName }): Promise<void> {
    const { openLines } = await loadSystem(options.system)
    driver.use(await openLines(options, driver))
  },
  saturate: (options: SaturationOptions) => driver.saturate(options),
  async paced(options: PacedOptions) {
    const { messages, latenciesMs } = await driver.paced(options)
    return { messages, p50Ms: percentile(latenciesMs, 0.5), p99Ms: percentile(latenciesMs, 0.99) }
  },
})
