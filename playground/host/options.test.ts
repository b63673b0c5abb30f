import { describe, expect, test } from 'vitest'
import { parseStartOptions, UsageError } from './options.ts'
import { reachOf } from './reach.ts'

describe('the command line', () => {
  test('without options starts on loopback at port 4600', () => {
    const expected = { host: '127.0.0.1', port: 4_600, party: 'playground', verbose: false, help: false }
    expect(parseStartOptions([])).toEqual(expected)
  })

  test('takes a port, a host and a party', () => {
    const options = parseStartOptions(['--port', '0', '--host=::1', '--party', 'caf\u0065\u0301'])
    expect(options).toMatchObject({ port: 0, host: '::1', party: 'caf\u00e9' })
  })

  test.each([
    [['--port', '70000'], /65535/],
    [['--port', 'http'], /"http"/],
    [['--port='], /--port/],
    [['--port', '1.5'], /whole number/],
    [['--party', ''], /--party/],
    [['--party', 'a/b'], /"\/"/],
    [['--party', 'é'.repeat(129)], /256 bytes/],
    [['--prot', '1'], /--prot/],
    [['now'], /now/],
  ])('%j is refused with a reason', (args, reason) => {
    expect(() => parseStartOptions(args)).toThrow(UsageError)
    expect(() => parseStartOptions(args)).toThrow(reason)
  })
})

describe('the hosts a server answers for', () => {
  const interfaces = {
    lo: [{ address: '127.0.0.1' }],
    eth0: [{ address: '10.0.0.7' }, { address: 'fe80::1%eth0' }],
  } as unknown as Parameters<typeof reachOf>[1]

  test.each(['127.0.0.1', 'localhost', '::1'])('are the default on %s', (host) => {
    expect(reachOf(host, interfaces).allowedHosts).toBeUndefined()
  })

  test('are one address when it is bound to that', () => {
    expect(reachOf('10.0.0.7', interfaces)).toEqual({ host: '10.0.0.7', allowedHosts: ['10.0.0.7'] })
  })

  test('are all own addresses when it is bound to every one', () => {
    const { host, allowedHosts } = reachOf('0.0.0.0', interfaces)
    expect(host).toBe('localhost')
    expect(allowedHosts).toEqual(['localhost', '127.0.0.1', '[::1]', '10.0.0.7', '[fe80::1]'])
  })
})
