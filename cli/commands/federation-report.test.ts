import type { LogFields, LogLevel } from '@mesh/server'
import { expect, test } from 'vitest'
import { Output } from '../terminal/output.ts'
import { TextBuffer } from '../terminal/text-buffer.fixture.ts'
import { reportFederation } from './federation-report.ts'

function reported({ json = true, isTTY = false } = {}) {
  const stdout = new TextBuffer({ isTTY })
  const output = new Output({ stdout, stderr: new TextBuffer({ isTTY }), json, env: { NO_COLOR: '1' } })
  const logged: string[] = []
  const report = reportFederation((_level, event) => logged.push(event), output)
  const tell = (event: string, fields: LogFields = {}, level: LogLevel = 'info') =>
    report(level, `federation_${event}`, { server: 'aa', ...fields })
  return { stdout, logged, report, tell }
}

test('a server is connected with both of its streams, and lost with the first that ends', () => {
  const { stdout, tell } = reported()
  tell('up', { channel: 'directory' })
  expect(stdout.events).toEqual([])
  tell('up', { channel: 'messages' })
  expect(stdout.events).toEqual([{ event: 'server-connected', server: 'aa' }])
  tell('down', { channel: 'messages', reason: 'UNREACHABLE' })
  tell('down', { channel: 'directory', reason: 'UNREACHABLE' })
  expect(stdout.events.slice(1)).toEqual([{ event: 'server-lost', server: 'aa', reason: 'UNREACHABLE' }])
  tell('up', { channel: 'directory' })
  tell('up', { channel: 'messages' })
  expect(stdout.events).toHaveLength(3)
})

test('a server that is refused over and over is told once per reason, and again after it was connected', () => {
  const { stdout, tell } = reported()
  const realm = { by: 'here', reason: 'REALM_MISMATCH', message: 'another realm' }
  for (let attempt = 0; attempt < 3; attempt++) tell('refused', realm)
  tell('refused', { by: 'here', reason: 'LIMIT_EXCEEDED' })
  expect(stdout.events).toEqual([
    { event: 'server-refused', server: 'aa', ...realm },
    { event: 'server-refused', server: 'aa', by: 'here', reason: 'LIMIT_EXCEEDED' },
  ])
  tell('up', { channel: 'directory' })
  tell('refused', realm)
  expect(stdout.events).toHaveLength(3)
})

test('a server that cannot be reached is told once, until it was', () => {
  const { stdout, tell } = reported()
  const down = { channel: 'directory', reason: 'UNREACHABLE', message: 'connect ECONNREFUSED' }
  tell('down', down)
  tell('down', { ...down, channel: 'messages' })
  expect(stdout.events).toEqual([{ event: 'server-unreachable', server: 'aa', reason: 'connect ECONNREFUSED' }])
  for (const channel of ['directory', 'messages']) tell('up', { channel })
  for (const channel of ['directory', 'messages']) tell('down', { ...down, channel })
  tell('down', down)
  expect(stdout.events.map(({ event }) => event)).toEqual(['server-unreachable', 'server-connected', 'server-lost'])
})

test('people read who refused whom, and what to do about it', () => {
  const { stdout, tell, report } = reported({ json: false })
  tell('up', { channel: 'directory' })
  tell('up', { channel: 'messages' })
  tell('refused', { by: 'here', reason: 'REALM_MISMATCH', message: 'it is in realm b' })
  tell('refused', { by: 'there', reason: 'REALM_MISMATCH', message: 'the other side says REALM_MISMATCH' })
  tell('refused', { by: 'there', reason: 'NODE_NOT_ALLOWED', message: 'the other side says NODE_NOT_ALLOWED' })
  report('warn', 'federation_refused', { reason: 'NODE_NOT_ALLOWED', message: 'server bb is none of ours' })
  expect(stdout.lines).toEqual([
    'Connected with server aa.',
    'Refused server aa: it is in realm b',
    'Refused by server aa: the other side says REALM_MISMATCH. Both need the same --realm.',
    'Refused by server aa: the other side says NODE_NOT_ALLOWED. It must be given the key of this server, with --federate or --federate-allow.',
    'Refused a server: server bb is none of ours',
  ])
})

test('the log of a program has everything; that of a screen what was not told already', () => {
  const program = reported()
  const screen = reported({ json: false, isTTY: true })
  for (const { tell, report } of [program, screen]) {
    tell('refused', { reason: 'REALM_MISMATCH', message: 'another\nrealm' })
    report('warn', 'slow_reader')
  }
  expect(program.logged).toEqual(['federation_refused', 'slow_reader'])
  expect(screen.logged).toEqual(['slow_reader'])
  expect(screen.stdout.text).toBe('Refused server aa: another\ufffdrealm\n')
})
