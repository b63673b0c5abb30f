import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { useServers } from '@mesh/server/testing'
import { describe, expect, test } from 'vitest'

const serve = useServers()
const run = promisify(execFile)
const SERVICE = 'mesh.signal.v1.SignalService'

/** Runs the real curl; resolves with the status and the JSON body. */
async function curl(...args: string[]): Promise<{ status: number; body: unknown }> {
  const { stdout } = await run('curl', [
    '--silent',
    '--show-error',
    '--max-time',
    '5',
    '--write-out',
    '\n%{http_code}',
    ...args,
  ])
  const lines = stdout.trimEnd().split('\n')
  const status = Number(lines.pop())
  return { status, body: JSON.parse(lines.join('\n')) }
}

const JSON_CALL = ['--header', 'content-type: application/json']

describe.each([
  ['HTTP/1.1', '--http1.1'],
  ['HTTP/2', '--http2-prior-knowledge'],
])('curl over %s', (_name, version) => {
  test('gets a challenge as JSON', async () => {
    const { origin, server } = await serve()
    const { status, body } = await curl(version, ...JSON_CALL, '--data', '{}', `${origin}/${SERVICE}/GetChallenge`)
    expect(status).toBe(200)
    expect(body).toMatchObject({ ttlMs: 60_000 })
    const { serverKey } = body as { serverKey: string }
    expect(new Uint8Array(Buffer.from(serverKey, 'base64'))).toEqual(await server.publicKey)
  })

  test('gets a challenge with GET', async () => {
    const { origin } = await serve()
    const query = 'connect=v1&encoding=json&message=%7B%7D'
    const { status, body } = await curl(version, `${origin}/${SERVICE}/GetChallenge?${query}`)
    expect(status).toBe(200)
    expect(body).toHaveProperty('challenge')
  })

  test('is refused with a code, a message and a typed detail', async () => {
    const { origin } = await serve()
    const refusal = await curl(version, ...JSON_CALL, '--data', '{}', `${origin}/${SERVICE}/Join`)
    expect(refusal).toMatchObject({
      status: 401,
      body: {
        code: 'unauthenticated',
        message: expect.stringContaining('authorization'),
        details: [{ type: 'mesh.signal.v1.ErrorDetail', debug: { reason: 'ERROR_REASON_TOKEN_MISSING' } }],
      },
    })
  })

  test('is refused for another host', async () => {
    const { origin } = await serve()
    const args = [
      version,
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
      '--header',
      'Host: evil.example',
    ]
    const { stdout } = await run('curl', [...args, origin])
    expect(stdout).toBe('421')
  })
})
