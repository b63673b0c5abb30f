import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serverLimits } from './server-limits.ts'

test('the table in docs/operations.md is this table', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `([a-z0-9_]+)` \| (\d+) \| [^|]* \| (.+) \|$/gm)]
  const documented = rows.map(([, wireName, value, meaning]) => ({ wireName, defaultValue: Number(value), meaning }))
  expect(documented).toEqual(
    serverLimits.map(({ wireName, defaultValue, meaning }) => ({ wireName, defaultValue, meaning })),
  )
})
