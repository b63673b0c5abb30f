import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { LineReport } from './line-report.ts'

const broken = new MeshError(ErrorReason.UNREACHABLE, 'broken')
const refused = new MeshError(ErrorReason.NODE_NOT_ALLOWED, 'refused')

function report(): { clock: VirtualClock; line: LineReport; told: string[] } {
  const clock = new VirtualClock()
  const told: string[] = []
  const onLost = (error: MeshError | undefined): void => void told.push(`lost ${error?.reasonName}`)
  const line = new LineReport({ clock, onConnected: () => told.push('connected'), onLost })
  return { clock, line, told }
}

describe('what is told of a line', () => {
  test('is that it is connected, and that it was lost', async () => {
    const { line, told } = report()
    line.up()
    line.down(broken)
    line.failed(broken)
    line.up()
    expect(told).toEqual(['connected', 'lost UNREACHABLE', 'connected'])
  })

  test('is nothing when one stream takes the place of another', async () => {
    const { clock, line, told } = report()
    line.up()
    line.up()
    line.down(undefined)
    await clock.advance(500)
    line.up()
    await clock.advance(5_000)
    expect(told).toEqual(['connected'])
  })

  test('is that it was lost when no stream takes the place of one that ended quietly', async () => {
    const { clock, line, told } = report()
    line.up()
    line.down(undefined)
    await clock.advance(1_000)
    expect(told).toEqual(['connected', 'lost undefined'])
  })

  test('is once that it cannot be opened, unless it is refused, which is told elsewhere', () => {
    const { line, told } = report()
    line.failed(refused)
    line.failed(broken)
    line.failed(broken)
    expect(told).toEqual(['lost UNREACHABLE'])
  })

  test('is nothing after the end', async () => {
    const { clock, line, told } = report()
    line.up()
    line.down(undefined)
    line.close()
    await clock.advance(5_000)
    expect(told).toEqual(['connected'])
  })
})
