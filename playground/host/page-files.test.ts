import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pageFiles } from './page-files.ts'

let folder: string
let server: Server
let origin: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-page-'))
  await mkdir(join(folder, 'assets'))
  await writeFile(join(folder, 'index.html'), '<p>{{party}}</p>')
  await writeFile(join(folder, 'assets', 'main-Ab3_-x9z.js'), 'export {}')
  await writeFile(join(folder, 'assets', 'secret.pem'), 'not for everybody')
  const handler = await pageFiles(folder, (html) => html.replace('{{party}}', 'our party'))
  server = createServer(handler).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true })
})

const get = (path: string, init?: RequestInit) => fetch(origin + path, init)

describe('the page', () => {
  test('is served at / with its settings filled in, and asked for again each time', async () => {
    const response = await get('/?anything')
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('no-cache')
    expect(await response.text()).toBe('<p>our party</p>')
  })

  test('has a policy that lets nothing in from elsewhere', async () => {
    const { headers } = await get('/')
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*script-src 'self'.*trusted-types/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })

  test('is not sent again to who has it', async () => {
    const etag = (await get('/')).headers.get('etag') ?? ''
    const again = await get('/', { headers: { 'if-none-match': `"other", W/${etag}` } })
    expect(again.status).toBe(304)
    expect(await again.text()).toBe('')
    expect((await get('/', { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })

  test('has parts that may be kept for ever', async () => {
    const { headers } = await get('/assets/main-Ab3_-x9z.js')
    expect(headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(headers.get('cache-control')).toContain('immutable')
  })
})

describe('a request', () => {
  test('for something else is answered with 404', async () => {
    expect((await get('/assets/')).status).toBe(404)
    expect((await get('/index.html')).status).toBe(404)
  })

  test('for a file of an unknown kind, or outside of the page, is answered with 404', async () => {
    expect((await get('/assets/secret.pem')).status).toBe(404)
    expect((await get('/..%2f..%2fetc%2fpasswd')).status).toBe(404)
  })

  test('by HEAD gets no body', async () => {
    const response = await get('/', { method: 'HEAD' })
    expect(response.headers.get('content-length')).toBe('16')
    expect(await response.text()).toBe('')
  })

  test('by POST is refused', async () => {
    const response = await get('/', { method: 'POST' })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('GET, HEAD')
  })
})
