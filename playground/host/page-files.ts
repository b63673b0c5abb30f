import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { extname, join, relative, sep } from 'node:path'

/** Answers one request for a page or one of its files. */
export type PageHandler = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
) => void

interface PageFile {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json; charset=utf-8',
}

/** Everything comes from this server; nothing is inline, and no text of a peer can become markup. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** Names with a hash of the content never change; the page itself is asked for again each time. */
const HASHED_NAME = /-[\w-]{8}\.\w+$/
const FOREVER = 'public, max-age=31536000, immutable'
const ASK_AGAIN = 'no-cache'

/**
 * Serves a built page from memory. `edit` may change the text of index.html, for example to fill in settings.
 */
export async function pageFiles(folder: string, edit: (html: string) => string = (html) => html): Promise<PageHandler> {
  const files = new Map<string, PageFile>()
  for (const name of await readdir(folder, { recursive: true })) {
    const type = CONTENT_TYPES[extname(name)]
    if (type === undefined) continue
    const raw = await readFile(join(folder, name))
    const path = `/${relative('.', name).split(sep).join('/')}`
    if (path === '/index.html') files.set('/', pageFile(path, type, Buffer.from(edit(raw.toString('utf8')))))
    else files.set(path, pageFile(path, type, raw))
  }
  return (request, response) => serve(files, request, response as ServerResponse)
}

function pageFile(path: string, type: string, body: Buffer): PageFile {
  const headers = {
    ...SECURITY_HEADERS,
    'content-type': type,
    'content-length': String(body.length),
    'cache-control': HASHED_NAME.test(path) ? FOREVER : ASK_AGAIN,
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
  }
  return { body, headers }
}

function serve(
  files: ReadonlyMap<string, PageFile>,
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse,
): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return respondText(response, 405, 'Only GET and HEAD work here.', { allow: 'GET, HEAD' })
  }
  const file = files.get((request.url ?? '').split('?', 1)[0] ?? '')
  if (!file) return respondText(response, 404, 'There is no such page here. The playground is at /.')
  if (matches(request.headers['if-none-match'], file.headers.etag)) {
    const { 'content-length': _, ...headers } = file.headers
    response.writeHead(304, headers)
    response.end()
    return
  }
  response.writeHead(200, file.headers)
  if (request.method === 'HEAD') response.end()
  else response.end(file.body)
}

/** RFC 9110 §13.1.2, weak comparison. */
function matches(condition: string | undefined, etag: string | undefined): boolean {
  const tags = (condition ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return etag !== undefined && (tags.includes(etag) || condition?.trim() === '*')
}

function respondText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { ...SECURITY_HEADERS, ...headers, 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${text}\n`)
}
