import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findNode } from './node-binary.mjs'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mesh-node-'))
})
afterEach(() => rmSync(root, { recursive: true }))

function bundle(script: string): string {
  const file = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return file
}

describe('findNode', () => {
  test('takes the Node among the dependencies before the installed one', () => {
    const bundled = bundle('echo v24.1.0')
    expect(findNode(root, { path: '/usr/bin/node', version: '26.0.0' })).toEqual({ path: bundled, flags: [] })
  })

  test('takes the installed Node when the bundled one does not run here', () => {
    bundle('exit 127')
    expect(findNode(root, { path: '/usr/bin/node', version: '24.0.0' }).path).toBe('/usr/bin/node')
  })

  test('asks a Node that runs TypeScript only on request to do so', () => {
    const { flags } = findNode(root, { path: '/usr/bin/node', version: '22.12.0' })
    expect(flags).toContain('--experimental-strip-types')
  })

  test('says what to install when the installed Node is too old and there is no other', () => {
    const find = (): unknown => findNode(root, { path: '/usr/bin/node', version: '22.11.9' })
    expect(find).toThrow(/22\.12 or newer.*22\.11\.9[\s\S]*Install Node 24/)
  })
})
