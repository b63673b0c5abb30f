import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, it } from 'vitest'
import { ErrorReason } from '../error.ts'
import type { Limits } from '../limits.ts'
import { DEFAULT_LIMITS, limitWireName } from '../limits.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const text = readFileSync(join(root, 'docs/protocol.md'), 'utf8')

/** Rows of the table under a heading, as cells. */
function tableUnder(heading: string): string[][] {
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| '))
  return rows.slice(1).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

describe('docs/protocol.md', () => {
  it('lists every error reason with its number, and no other', () => {
    const listed = tableUnder('Errors').map(([number, reason]) => [reason, Number(number)])
    const defined = Object.entries(ErrorReason).filter(([, number]) => number !== 0)
    expect(listed).toEqual(defined)
  })

  it('lists every limit with its default, and no other', () => {
    const listed = tableUnder('Limits').map(([name, value]) => [name, Number(value?.replaceAll(',', ''))])
    const defined = Object.entries(DEFAULT_LIMITS).map(([name, value]) => [
      `\`${limitWireName(name as keyof Limits)}\``,
      value,
    ])
    expect(listed).toEqual(defined)
  })

  it('lists every file of vectors', () => {
    const listed = tableUnder('Vectors').map(([name]) => name?.replaceAll('`', ''))
    expect(listed.sort()).toEqual(readdirSync(join(root, 'docs/vectors')).sort())
  })

  it('speaks of every call and every kind of frame', () => {
    for (const { name } of SignalService.methods) expect(text).toContain(`\`${name}\``)
    const frames = tableUnder('Frames').map(([names]) => names)
    const listed = frames.join(', ').replaceAll('`', '').split(', ').sort()
    const defined = FrameSchema.fields.map((field) => field.name).filter((name) => name !== 'seq')
    expect(listed).toEqual(defined.sort())
  })

  it('links to headings that exist', () => {
    const headings = [...text.matchAll(/^##+ (.+)$/gm)].map(([, title]) => `#${slug(title as string)}`)
    for (const [, target] of text.matchAll(/\]\((#[^)]+)\)/g)) expect(headings).toContain(target)
  })

  it('has a command that writes the schema as a descriptor set', () => {
    expect(text).toContain('\nnpx buf build -o mesh.binpb\n')
    const folder = mkdtempSync(join(tmpdir(), 'mesh-protocol-'))
    try {
      const output = join(folder, 'mesh.binpb')
      execFileSync(join(root, 'node_modules/.bin/buf'), ['build', '-o', output], { cwd: root })
      expect(statSync(output).size).toBeGreaterThan(10_000)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 30_000)
})

/** The anchor of a heading, as Markdown renderers make it. */
function slug(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')
}
