import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { build } from 'vite'

/** A folder with an index.html, bundled as an application would be and served on an origin of its own. */
export interface Site {
  readonly url: string
  close(): Promise<void>
}

const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface ChromiumPlace {
  /** Command that starts it; the program follows. */
  readonly launcher: readonly string[]
  /** To be trusted as loopback and https are, which keys and WebRTC need. */
  readonly secureOrigin: string
}

export function launchChromium(place?: ChromiumPlace): Promise<Browser> {
  const executablePath = process.env.CHROME_PATH
  if (place && executablePath) return launchElsewhere(executablePath, place)
  return chromium.launch({ args: CHROMIUM_ARGS, ...(executablePath && { executablePath }) })
}

async function launchElsewhere(chromiumPath: string, { launcher, secureOrigin }: ChromiumPlace): Promise<Browser> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-chromium-'))
  const executablePath = join(folder, 'chromium')
  await writeFile(executablePath, `#!/bin/sh\nexec ${launcher.join(' ')} '${chromiumPath}' "$@"\n`, { mode: 0o755 })
  const args = [...CHROMIUM_ARGS, `--unsafely-treat-insecure-origin-as-secure=${secureOrigin}`]
  const browser = await chromium.launch({ args, executablePath })
  await rm(folder, { recursive: true })
  return browser
}

/** `host`: where it is served. */
export async function openSite(root: string, host = '127.0.0.1'): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-page-'))
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['source', 'browser', 'module', 'import', 'default'] },
    build: { outDir: folder, emptyOutDir: true, minify: false, target: 'esnext' },
  })
  const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' }
  const server = createServer((request, response) => {
    const path = request.url === '/' ? '/index.html' : (request.url ?? '/')
    readFile(join(folder, path)).then(
      (body) => response.writeHead(200, { 'content-type': types[extname(path)] ?? 'text/plain' }).end(body),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.address() as { port: number }
  return {
    url: `http://${host}:${port}/`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
