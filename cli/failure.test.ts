import { ErrorReason, MeshError } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { CommandError, describeFailure, Interrupted, UsageError } from './failure.ts'

describe('describeFailure', () => {
  test.each([
    ['a usage error', new UsageError('m', 'h'), { reason: 'USAGE', hint: 'h', exitCode: 2 }],
    ['a command error', new CommandError('NOT_ACCEPTED', 'm'), { reason: 'NOT_ACCEPTED', exitCode: 1 }],
    ['Ctrl+C', new Interrupted('SIGINT'), { reason: 'INTERRUPTED', exitCode: 130 }],
    ['SIGTERM', new Interrupted('SIGTERM'), { reason: 'INTERRUPTED', exitCode: 143 }],
    ['a refusal', new MeshError(ErrorReason.LIMIT_EXCEEDED, 'm'), { reason: 'LIMIT_EXCEEDED', exitCode: 1 }],
    ['an address that cannot be', new MeshError(ErrorReason.ADDRESS_INVALID, 'm'), { exitCode: 2 }],
    ['an error of the system', Object.assign(new Error('m'), { code: 'ENOSPC' }), { reason: 'ENOSPC', exitCode: 1 }],
    ['anything else', 'thrown text', { reason: 'UNEXPECTED', message: 'thrown text', exitCode: 1 }],
  ])('gives %s its reason and exit code', (_, error, expected) => {
    expect(describeFailure(error)).toMatchObject(expected)
  })

  test('sees the interrupt behind an aborted call', () => {
    const cause = new Interrupted('SIGINT')
    expect(describeFailure(new MeshError(ErrorReason.ABORTED, 'm', { cause })).exitCode).toBe(130)
  })

  test('says what to do when no server answers', () => {
    expect(describeFailure(new MeshError(ErrorReason.UNREACHABLE, 'm')).hint).toContain('mesh serve')
  })
})
