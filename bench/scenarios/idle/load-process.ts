import { serveWorker } from '../../harness/worker.ts'
import type { IdleOptions } from '../../systems/line.ts'
import { loadSystem, type SystemName } from '../../systems/registry.ts'

/** Holds a share of the idle population open until the parent disconnects. */
serveWorker({
  async open(options: IdleOptions & { system: SystemName }): Promise<void> {
    const { openIdle } = await loadSystem(options.system)
    await openIdle(options)
  },
})
