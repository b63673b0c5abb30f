import { gzipSync } from 'node:zlib'
import { eventually, TestPeer, useServers } from '@mesh/server/testing'
import { describe, expect, test } from 'vitest'
import { RawConnection, requestText } from './raw-connection.ts'

const serve = useServers()
const SERVICE = '/mesh.signal.v1.SignalService'
const JSON_TYPE = { 'content-type': 'application/json' }

/** What the server answers to one HTTP/1.1 request, status first. */
async function answer(port: number, text: string): Promise<string> {
  const connection = await RawConnection.open(port)
  connection.write(text)
  await eventually(() => connection.received.includes('\r\n\r\n'))
  connection.close()
  return connection.received
}

describe('requests that are refused before they are calls', () => {
  test('a foreign Host is misdirected', async () => {
    const { port } = await serve()
    const response = await answer(port, requestText(port, `POST ${SERVICE}/GetChallenge`, { Host: 'evil.example' }))
    expect(response).toMatch(/^HTTP\/1\.1 421 /)
  })

  test('a Host of this machine with another port is misdirected', async () => {
    const { port } = await serve()
    const response = await answer(port, requestText(port, 'GET /', { Host: `localhost:${port + 1}` }))
    expect(response).toMatch(/^HTTP\/1\.1 421 /)
  })

  test.each(['https://evil.example', 'null', 'file://', 'http://localhost.evil.example'])(
    'a page of origin %s is forbidden, and gets no CORS permission',
    async (origin) => {
      const { port } = await serve()
      const headers = { Origin: origin, 'Content-Type': 'application/json', 'Content-Length': '2' }
      const response = await answer(port, requestText(port, `POST ${SERVICE}/GetChallenge`, headers, '{}'))
      expect(response).toMatch(/^HTTP\/1\.1 403 /)
      expect(response.toLowerCase()).not.toContain('access-control-allow')
    },
  )

  test('a preflight of a foreign page is forbidden', async () => {
    const { port } = await serve()
    const headers = { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' }
    const response = await answer(port, requestText(port, `OPTIONS ${SERVICE}/OpenSession`, headers))
    expect(response).toMatch(/^HTTP\/1\.1 403 /)
  })

  test('a page served from loopback may call and read the fields that gRPC-Web needs', async () => {
    const { origin } = await serve()
    const page = 'http://localhost:5173'
    const preflight = await fetch(`${origin}${SERVICE}/OpenSession`, {
      method: 'OPTIONS',
      headers: {
        origin: page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe(page)
    expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')
    const headers = { ...JSON_TYPE, origin: page }
    const call = await fetch(`${origin}${SERVICE}/GetChallenge`, { method: 'POST', headers, body: '{}' })
    expect(call.status).toBe(200)
    expect(call.headers.get('access-control-expose-headers')?.toLowerCase()).toContain('grpc-status-details-bin')
  })

  test('configured origins replace the default', async () => {
    const { origin } = await serve({ allowedOrigins: ['https://app.example'] })
    const status = async (page: string): Promise<number> => {
      const headers = { ...JSON_TYPE, origin: page }
      return (await fetch(`${origin}${SERVICE}/GetChallenge`, { method: 'POST', headers, body: '{}' })).status
    }
    expect(await status('https://app.example')).toBe(200)
    expect(await status('http://localhost:5173')).toBe(403)
    expect(await status(origin)).toBe(200)
  })
})

describe('requests that are no calls', () => {
  test('get a page from the fallback, or 404', async () => {
    const plain = await serve()
    expect((await fetch(`${plain.origin}/`)).status).toBe(404)
    const withPage = await serve({ fallback: (_request, response) => void response.end('<p>page') })
    expect(await (await fetch(`${withPage.origin}/`)).text()).toBe('<p>page')
  })

  test('get the pages for operators on loopback, unless that is switched off', async () => {
    const on = await serve()
    const response = await fetch(`${on.origin}/metrics`)
    expect(response.headers.get('content-type')).toContain('version=0.0.4')
    expect(await response.text()).toMatch(/^mesh_sessions 0$/m)
    const off = await serve({ metrics: false })
    expect((await fetch(`${off.origin}/metrics`)).status).toBe(404)
    const federation = await fetch(`${on.origin}/federation`)
    expect(federation.headers.get('content-type')).toBe('application/json')
    expect(await federation.json()).toMatchObject({ federated: false, stats: { sessions: 0 } })
    expect((await fetch(`${off.origin}/federation`)).status).toBe(404)
  })
})

describe('calls in the wrong form', () => {
  test.each(['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded', 'application/xml'])(
    'content type %s is not supported',
    async (type) => {
      const { origin } = await serve()
      const response = await fetch(`${origin}${SERVICE}/SendMessage`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: '{}',
      })
      expect(response.status).toBe(415)
    },
  )

  test.each(['OpenSession', 'CloseSession', 'Join', 'Leave', 'SendMessage'])(
    'GET on %s is not allowed',
    async (rpc) => {
      const { origin } = await serve()
      const query = 'connect=v1&encoding=json&message=%7B%7D'
      expect((await fetch(`${origin}${SERVICE}/${rpc}?${query}`)).status).toBe(405)
    },
  )

  test('GET on GetChallenge, which changes nothing, is a call', async () => {
    const { origin } = await serve()
    const response = await fetch(`${origin}${SERVICE}/GetChallenge?connect=v1&encoding=json&message=%7B%7D`)
    expect(response.status).toBe(200)
  })

  test('Exchange over HTTP/1.1 is refused with 505', async () => {
    const { origin } = await serve()
    const headers = { 'content-type': 'application/connect+proto' }
    const response = await fetch(`${origin}${SERVICE}/Exchange`, { method: 'POST', headers, body: new Uint8Array(5) })
    expect(response.status).toBe(505)
  })

  test('a gzip bomb is refused without being inflated', async () => {
    const { origin } = await serve()
    const bomb = gzipSync(new Uint8Array(64 * 1_024 * 1_024))
    const before = process.memoryUsage().rss
    for (const [type, header] of [
      ['application/json', 'content-encoding'],
      ['application/connect+proto', 'connect-content-encoding'],
      ['application/grpc-web+proto', 'grpc-encoding'],
    ] as const) {
      const headers = { 'content-type': type, [header]: 'gzip' }
      const rpc = type === 'application/connect+proto' ? 'Subscribe' : 'SendMessage'
      const response = await fetch(`${origin}${SERVICE}/${rpc}`, { method: 'POST', headers, body: bomb })
      expect((await response.text()) + response.headers.get('grpc-message')).toMatch(/unknown(%20| )compression/)
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1_024 * 1_024)
  })

  test('an oversize body that declares its length is refused before it is sent', async () => {
    const { port } = await serve()
    const peer = await TestPeer.open({ origin: `http://127.0.0.1:${port}` })
    const headers = {
      'Content-Type': 'application/proto',
      'Content-Length': '1000000000',
      Authorization: `Bearer ${peer.token}`,
    }
    const response = await answer(port, requestText(port, `POST ${SERVICE}/SendMessage`, headers))
    expect(response).toMatch(/^HTTP\/1\.1 429 /)
    expect(response.toLowerCase()).toContain('connection: close')
  })

  test('an oversize body without a length is refused while it is read', async () => {
    const { port } = await serve()
    const connection = await RawConnection.open(port)
    const headers = { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }
    connection.write(requestText(port, `POST ${SERVICE}/OpenSession`, headers))
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    for (let sent = 0; sent < 12 && connection.received === ''; sent++) {
      connection.write(chunk)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await eventually(() => connection.received.startsWith('HTTP/1.1 429 '))
    await eventually(
      () => connection.received.includes('max_request_bytes') || connection.received.includes('resource_exhausted'),
    )
    connection.close()
  })
})
