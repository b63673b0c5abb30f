import { findChromium, NO_CHROMIUM } from '../../scripts/chromium.mjs'

/**
 * Fails the lanes that need a browser when there is none, with what to do about it, and otherwise tells their tests
 * which one to drive in `CHROME_PATH`.
 */
export default function requireChromium(): void {
  const path = findChromium()
  if (path === undefined) throw new Error(NO_CHROMIUM)
  process.env.CHROME_PATH = path
}
