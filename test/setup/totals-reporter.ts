import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/**
 * Writes how many tests passed and failed, over all projects, to the file named in `MESH_TOTALS_FILE`.
 * A file that could not be loaded and an error outside any test count as one failure each.
 */
class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const file = process.env.MESH_TOTALS_FILE
    if (file === undefined) return
    let passed = 0
    let failed = unhandled.length
    for (const module of modules) {
      if (module.errors().length > 0) failed++
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed++
        else if (state !== 'skipped') failed++
      }
    }
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify({ passed, failed }))
  }
}

export default TotalsReporter
