import { expect, test } from 'vitest'
import { Terminal } from './terminal.ts'

const ada = { id: 'mesh1ada', name: 'Ada' }

function lines(run: (terminal: Terminal) => void, colour = false): string {
  let text = ''
  const now = () => new Date(2026, 0, 2, 3, 4, 5)
  run(new Terminal({ write: (more) => (text += more), now, colour }))
  return text
}

test('the terminal tells each event on a line of its own', () => {
  const text = lines((terminal) => {
    terminal.event({ ...ada, kind: 'join' })
    terminal.event({ ...ada, kind: 'path', path: 'direct', rttMs: 2.2 })
    terminal.event({ ...ada, kind: 'message', text: 'hi' })
    const file = { name: 'a.txt', sizeBytes: 1_200 }
    terminal.event({ ...ada, kind: 'file', file, result: { kind: 'stored', checksum: 'ab'.repeat(32) } })
    terminal.event({ ...ada, kind: 'leave' })
  })
  expect(text.split('\n').map((line) => line.replace(/ +/g, ' ').trim())).toEqual([
    '03:04:05 + Ada joined mesh1ada',
    '03:04:05 ~ Ada connected directly, 2 ms',
    '03:04:05 > Ada hi',
    '03:04:05 # Ada a.txt (1.2 KB) arrived, SHA-256 abababab…abab is right',
    '03:04:05 - Ada left',
    '',
  ])
})

test('the terminal is not moved by what a peer writes', () => {
  const text = lines((terminal) => terminal.event({ ...ada, kind: 'message', text: 'a\u001b[2J\nb\u202e' }))
  expect(text.trimEnd()).toMatch(/a \[2J b$/)
  expect(text.split('\n')).toHaveLength(2)
})

test('the terminal cuts long messages', () => {
  const text = lines((terminal) => terminal.event({ ...ada, kind: 'message', text: 'x'.repeat(10_000) }))
  expect(text.length).toBeLessThan(200)
})

test('the terminal has colours only where it may', () => {
  expect(lines((terminal) => terminal.event({ ...ada, kind: 'leave' }), true)).toContain('\u001b[')
  expect(lines((terminal) => terminal.event({ ...ada, kind: 'leave' }))).not.toContain('\u001b[')
})
