import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium, type Page } from 'playwright-core'
import { requireChromium } from '../../../scripts/chromium.mjs'
import { bundleForBrowser } from './bundle.ts'

/** No sandbox (containers, root); pages in the background keep their full speed, as a page one looks at has. */
const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
]

/** A Chromium and a tiny site that serves one bundled script. */
export interface BenchBrowser extends AsyncDisposable {
  readonly origin: string
  /** A new page with the script loaded. */
  open(): Promise<Page>
}

/** Bundles the file `entry`, serves it on loopback and starts a Chromium (CHROME_PATH, or an installed one). */
export async function openBrowser(entry: string): Promise<BenchBrowser> {
  const { code } = await bundleForBrowser({ file: entry })
  const site = await serveScript(code)
  const browser: Browser = await chromium.launch({ executablePath: await requireChromium(), args: CHROMIUM_ARGS })
  const context = await browser.newContext()
  return {
    origin: site.origin,
    async open() {
      const page = await context.newPage()
      page.on('pageerror', (error) => console.error('page:', error.message))
      await page.goto(site.origin)
      await page.waitForFunction('globalThis.bench')
      return page
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
      site.close()
    },
  }
}

async function serveScript(code: string): Promise<{ origin: string; close: () => void }> {
  const server = createServer((request, response) => {
    const script = request.url === '/bench.js'
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html')
    response.end(script ? code : '<!doctype html><title>bench</title><script type="module" src="/bench.js"></script>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
