import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ensureInstalled } from './install.mjs'

let root: string

/** A repository with one workspace, and an npm that writes down that it ran. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mesh-install-'))
  mkdirSync(join(root, 'core'))
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'package.json'), JSON.stringify({ workspaces: ['core'] }))
  writeFileSync(join(root, 'core', 'package.json'), '{}')
  writeFileSync(join(root, 'package-lock.json'), '{}')
  npm('echo "$@" >> runs')
  vi.stubEnv('npm_execpath', undefined)
  vi.stubEnv('PATH', `${join(root, 'bin')}${delimiter}${process.env.PATH}`)
  vi.spyOn(console, 'error').mockImplementation(() => {})
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  rmSync(root, { recursive: true })
})

function npm(script: string): void {
  writeFileSync(join(root, 'bin', 'npm'), `#!/bin/sh\n${script}\n`)
  chmodSync(join(root, 'bin', 'npm'), 0o755)
}

const runs = (): number =>
  existsSync(join(root, 'runs')) ? readFileSync(join(root, 'runs'), 'utf8').trim().split('\n').length : 0

describe('ensureInstalled', () => {
  test('installs what is locked, and only once', async () => {
    await ensureInstalled(root)
    await ensureInstalled(root)
    expect(runs()).toBe(1)
    expect(readFileSync(join(root, 'runs'), 'utf8')).toMatch(/^install --no-save --ignore-scripts/)
  })

  test.each(['package-lock.json', 'package.json', 'core/package.json'])(
    'installs again when %s changes',
    async (file) => {
      await ensureInstalled(root)
      writeFileSync(join(root, file), JSON.stringify({ workspaces: ['core'], dependencies: { a: '1.0.0' } }))
      await ensureInstalled(root)
      expect(runs()).toBe(2)
    },
  )

  test('installs nothing when only scripts change', async () => {
    await ensureInstalled(root)
    writeFileSync(join(root, 'package.json'), JSON.stringify({ workspaces: ['core'], scripts: { a: 'b' } }))
    await ensureInstalled(root)
    expect(runs()).toBe(1)
  })

  test('shows what npm said when it fails, and tries again next time', async () => {
    npm('echo "no such registry" >&2; exit 7')
    await expect(ensureInstalled(root)).rejects.toThrow(/exit code 7[\s\S]*no such registry/)
    npm('echo "$@" >> runs')
    await ensureInstalled(root)
    expect(runs()).toBe(1)
  })

  test('lets one of several callers install while the others wait', async () => {
    npm('sleep 0.3; echo "$@" >> runs')
    await Promise.all([ensureInstalled(root), ensureInstalled(root), ensureInstalled(root)])
    expect(runs()).toBe(1)
  })

  test('takes over from an installer that died', async () => {
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'node_modules', '.mesh-installing'), '4194305') // above the largest process id of Linux
    await ensureInstalled(root)
    expect(runs()).toBe(1)
  })
})
