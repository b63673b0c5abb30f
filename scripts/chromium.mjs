/**
 * Finds the Chromium that the browser and end-to-end tests drive, and installs one where that is possible.
 *
 * Order: `CHROME_PATH`, a chromium or chrome on `PATH`, a browser that Playwright downloaded earlier. The first
 * that exists wins. Nothing is ever downloaded by Playwright itself.
 */
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { runQuietly } from './process.mjs'

const COMMAND_NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']

/** Where Playwright unpacks its browsers, relative to one `chromium-<revision>` folder, newest layout first. */
const PLAYWRIGHT_BINARIES = [
  'chrome-linux64/chrome',
  'chrome-linux/chrome',
  'chrome-mac-arm64/Google Chrome for Testing.app/Contents/MacOS/Google Chrome for Testing',
  'chrome-mac/Chromium.app/Contents/MacOS/Chromium',
]

export const NO_CHROMIUM = `No Chromium was found, and the browser tests need one. Do one of these:
  - set CHROME_PATH to a Chromium or Chrome binary,
  - install one with your package manager (Debian, Ubuntu: apt-get install chromium),
  - run: npx playwright install chromium`

/**
 * Returns the path of an existing Chromium, or undefined.
 * A `CHROME_PATH` that names no executable throws: silently using another browser would hide the mistake.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string | undefined}
 */
export function findChromium(env = process.env) {
  if (env.CHROME_PATH) {
    if (isExecutable(env.CHROME_PATH)) return env.CHROME_PATH
    throw new Error(`CHROME_PATH is set to ${env.CHROME_PATH}, which is not an executable file`)
  }
  return onPath(env.PATH ?? '') ?? inPlaywrightCache(env)
}

/**
 * Like {@link findChromium}, but installs Chromium with apt when there is none and this process is root.
 * Throws {@link NO_CHROMIUM} with the reason when no browser can be had.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @param {() => number} [getUserId] 0 is root
 * @returns {Promise<string>}
 */
export async function requireChromium(env = process.env, getUserId = () => process.getuid?.() ?? -1) {
  const found = findChromium(env)
  if (found !== undefined) return found
  if (getUserId() !== 0) throw new Error(NO_CHROMIUM)
  console.log('No Chromium found; installing it with apt (this takes a minute, once)')
  const aptEnv = { ...env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'chromium']]) {
    const { code, output } = await runQuietly('apt-get', args, { env: aptEnv })
    if (code !== 0) throw new Error(`${NO_CHROMIUM}\n\napt-get ${args.join(' ')} failed:\n${output.trimEnd()}`)
  }
  const installed = findChromium(env)
  if (installed === undefined) throw new Error(`${NO_CHROMIUM}\n\napt-get succeeded but left no chromium on PATH`)
  return installed
}

/** @param {string} path */
function onPath(path) {
  for (const folder of path.split(delimiter)) {
    for (const name of COMMAND_NAMES) {
      const file = join(folder, name)
      if (folder !== '' && isExecutable(file)) return file
    }
  }
  return undefined
}

/** @param {NodeJS.ProcessEnv} env */
function inPlaywrightCache(env) {
  const home = env.HOME ?? homedir()
  const folders = [
    env.PLAYWRIGHT_BROWSERS_PATH,
    join(home, '.cache', 'ms-playwright'),
    join(home, 'Library', 'Caches', 'ms-playwright'),
  ]
  for (const folder of folders) {
    if (!folder) continue
    for (const revision of chromiumRevisions(folder)) {
      for (const binary of PLAYWRIGHT_BINARIES) {
        const file = join(folder, revision, binary)
        if (isExecutable(file)) return file
      }
    }
  }
  return undefined
}

/**
 * `chromium-<revision>` folders, newest first.
 *
 * @param {string} folder
 */
function chromiumRevisions(folder) {
  /** @type {string[]} */
  let names
  try {
    names = readdirSync(folder)
  } catch {
    return [] // no such cache
  }
  const revision = (/** @type {string} */ name) => Number(name.slice('chromium-'.length))
  return names.filter((name) => /^chromium-\d+$/.test(name)).sort((a, b) => revision(b) - revision(a))
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
