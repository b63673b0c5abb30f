import { describe, expect, test } from 'vitest'
import { Output } from './output.ts'
import { TextBuffer } from './text-buffer.fixture.ts'

function makeOutput({ json = false, isTTY = false } = {}) {
  const stdout = new TextBuffer({ isTTY })
  const stderr = new TextBuffer({ isTTY })
  return { stdout, stderr, output: new Output({ stdout, stderr, json, env: {} }) }
}

describe('output for people', () => {
  test('puts results on stdout and remarks on stderr', () => {
    const { output, stdout, stderr } = makeOutput()
    output.event('join', { peer: 'mesh1a' }, '→ mesh1a joined')
    output.remark('alone', {}, 'Nobody is here.')
    expect(stdout.text).toBe('→ mesh1a joined\n')
    expect(stderr.text).toBe('Nobody is here.\n')
  })

  test('leaves out what only programs want to know', () => {
    const { output, stdout } = makeOutput()
    output.event('sent', { text: 'hi' })
    expect(stdout.text).toBe('')
  })

  test('says who failed, why, and what to do', () => {
    const { output, stderr } = makeOutput()
    output.failure('mesh chat', { reason: 'UNREACHABLE', message: 'no\u001bserver', hint: 'Start one.', exitCode: 1 })
    expect(stderr.text).toBe('mesh chat: no\ufffdserver\nStart one.\n')
  })

  test('keeps a sticky line below everything that is printed', () => {
    const { output, stdout } = makeOutput()
    const release = output.stick({ draw: () => output.raw('[bar]'), clear: () => output.raw('[clear]') })
    output.event('x', {}, 'a line')
    release()
    release()
    output.event('x', {}, 'another')
    expect(stdout.text).toBe('[bar][clear]a line\n[bar][clear]another\n')
  })
})

describe('output for programs', () => {
  test('is one JSON object per line on stdout and nothing on stderr', () => {
    const { output, stdout, stderr } = makeOutput({ json: true })
    output.event('join', { peer: 'mesh1a', rttMs: undefined, size: 5n }, 'text')
    output.remark('alone', {}, 'text')
    output.warning('lost', { why: 'x' }, 'text')
    output.failure('mesh chat', { reason: 'USAGE', message: 'm', hint: undefined, exitCode: 2 })
    expect(stdout.events).toEqual([
      { event: 'join', peer: 'mesh1a', size: 5 },
      { event: 'alone' },
      { event: 'lost', why: 'x' },
      { event: 'error', reason: 'USAGE', message: 'm', exitCode: 2 },
    ])
    expect(stderr.text).toBe('')
  })

  test('is never interactive, even on a terminal', () => {
    expect(makeOutput({ json: true, isTTY: true }).output.interactive).toBe(false)
    expect(makeOutput({ isTTY: true }).output.interactive).toBe(true)
  })
})
