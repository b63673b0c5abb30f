import { ErrorReason } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { AccessPolicy, type AccessPolicyOptions } from './access-policy.ts'

const policy = (options: Partial<AccessPolicyOptions> = {}): AccessPolicy =>
  new AccessPolicy({ host: '127.0.0.1', port: 4_600, allowedHosts: undefined, allowedOrigins: undefined, ...options })

describe('hosts', () => {
  test('default to loopback names with the port of the server', () => {
    const local = policy()
    for (const host of ['localhost:4600', '127.0.0.1:4600', '[::1]:4600']) expect(local.allowsHost(host)).toBe(true)
    for (const host of ['localhost', 'localhost:4601', 'evil.example', 'evil.example:4600', '']) {
      expect(local.allowsHost(host)).toBe(false)
    }
  })

  test('must be given when the server is reachable from elsewhere', () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'mesh.example']) {
      expect(() => policy({ host })).toThrowError(expect.objectContaining({ reason: ErrorReason.CONFIGURATION }))
    }
  })

  test('with a port mean that port, without one the default ports and the port of the server', () => {
    const open = policy({
      host: '0.0.0.0',
      allowedHosts: ['Mesh.Example', 'other.example:8443', '[2001:db8::1]', 'b.example:443'],
    })
    for (const host of ['mesh.example', 'mesh.example:4600', 'other.example:8443', '[2001:db8::1]', 'b.example']) {
      expect(open.allowsHost(host), host).toBe(true)
    }
    for (const host of ['mesh.example:1', 'other.example', 'localhost:4600'])
      expect(open.allowsHost(host), host).toBe(false)
  })
})

describe('origins', () => {
  test('programs, which send none, may call', () => {
    expect(policy().allowsOrigin(undefined, 'localhost:4600')).toBe(true)
  })

  test('default to pages from this machine on loopback', () => {
    const local = policy()
    for (const origin of [
      'http://localhost',
      'http://localhost:5173',
      'https://127.0.0.1:1',
      'http://[::1]:80',
      'http://a.localhost',
    ]) {
      expect(local.allowsOrigin(origin, 'localhost:4600'), origin).toBe(true)
    }
    for (const origin of [
      'null',
      '',
      'https://evil.example',
      'http://localhost.evil.example',
      'file://localhost',
      'http://127.evil.example',
    ]) {
      expect(local.allowsOrigin(origin, 'localhost:4600'), origin).toBe(false)
    }
  })

  test('default to the pages of the server itself elsewhere', () => {
    const open = policy({ host: '0.0.0.0', allowedHosts: ['mesh.example'] })
    expect(open.allowsOrigin('https://mesh.example', 'mesh.example')).toBe(true)
    expect(open.allowsOrigin('https://app.example', 'mesh.example')).toBe(false)
    expect(open.allowsOrigin('http://localhost:5173', 'mesh.example')).toBe(false)
  })

  test('can be any web page, but not one without an origin', () => {
    const open = policy({ allowedOrigins: ['*'] })
    expect(open.allowsOrigin('https://anything.example', 'localhost:4600')).toBe(true)
    expect(open.allowsOrigin('null', 'localhost:4600')).toBe(false)
  })
})
