import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findChromium, requireChromium } from './chromium.mjs'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-chromium-'))
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

function program(path: string, script = ''): string {
  const file = join(folder, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `#!/bin/sh\n${script}`)
  chmodSync(file, 0o755)
  return file
}

describe('findChromium', () => {
  test('takes CHROME_PATH before everything else', () => {
    program('bin/chromium')
    const chosen = program('mine/browser')
    expect(findChromium({ CHROME_PATH: chosen, PATH: join(folder, 'bin'), HOME: folder })).toBe(chosen)
  })

  test('refuses a CHROME_PATH that is no executable, and names it', () => {
    program('bin/chromium')
    const missing = join(folder, 'nothing')
    expect(() => findChromium({ CHROME_PATH: missing, PATH: join(folder, 'bin') })).toThrow(missing)
    writeFileSync(join(folder, 'text'), 'not a program')
    expect(() => findChromium({ CHROME_PATH: join(folder, 'text') })).toThrow('not an executable')
    expect(() => findChromium({ CHROME_PATH: folder })).toThrow('not an executable')
  })

  test('takes a browser on PATH before one in the Playwright cache', () => {
    program('.cache/ms-playwright/chromium-1200/chrome-linux/chrome')
    const installed = program('second/google-chrome')
    const PATH = [join(folder, 'first'), join(folder, 'second')].join(delimiter)
    expect(findChromium({ PATH, HOME: folder })).toBe(installed)
  })

  test('takes the newest revision in the Playwright cache', () => {
    program('.cache/ms-playwright/chromium-999/chrome-linux/chrome')
    const newest = program('.cache/ms-playwright/chromium-1200/chrome-linux64/chrome')
    program('.cache/ms-playwright/chromium_headless_shell-1300/chrome-linux/chrome')
    expect(findChromium({ PATH: '', HOME: folder })).toBe(newest)
  })

  test('looks where PLAYWRIGHT_BROWSERS_PATH points', () => {
    const browser = program('elsewhere/chromium-1/chrome-linux/chrome')
    expect(findChromium({ PATH: '', HOME: folder, PLAYWRIGHT_BROWSERS_PATH: join(folder, 'elsewhere') })).toBe(browser)
  })

  test('finds nothing on an empty machine', () => {
    expect(findChromium({ PATH: join(folder, 'bin'), HOME: folder })).toBeUndefined()
  })
})

describe('requireChromium', () => {
  const asRoot = () => 0
  const asUser = () => 1000

  test('says what to do when there is none and it may not install one', async () => {
    const failure = requireChromium({ PATH: join(folder, 'bin'), HOME: folder }, asUser)
    await expect(failure).rejects.toThrow(/CHROME_PATH[\s\S]*apt-get install chromium/)
  })

  test('installs one with apt as root', async () => {
    const bin = join(folder, 'bin')
    program('bin/apt-get', `if [ "$1" = install ]; then /bin/cp "$0" "${bin}/chromium"; fi`)
    await expect(requireChromium({ PATH: bin, HOME: folder }, asRoot)).resolves.toBe(join(bin, 'chromium'))
  })

  test('shows what apt said when it fails', async () => {
    program('bin/apt-get', 'echo no network here; exit 100')
    const failure = requireChromium({ PATH: join(folder, 'bin'), HOME: folder }, asRoot)
    await expect(failure).rejects.toThrow(/CHROME_PATH[\s\S]*no network here/)
  })
})
