/** Rules about one file by itself: time and randomness from outside, platform by injection, names, and size. */
import { isTestCode } from './import-rules.ts'
import type { SourceFile } from './source-file.ts'

/** Where the real clock and the real randomness enter the system; everything else is given them. */
const PLATFORM_EDGES = [
  'core/time/clock.ts',
  'core/time/virtual-clock.ts', // lets what is already on its way finish before time moves on
  'core/random.ts',
  'client/node/',
  'client/browser/',
  'server/http/',
  'server/main.ts',
  'cli/',
  'playground/',
  'bench/',
  'examples/',
  'scripts/',
]

const MAX_LINES = 300

/** Longer files, each with the reason why it is one thing. */
const LONGER_WITH_REASON: Readonly<Record<string, string>> = {
  'server/backplane/federation/replication/replication.ts':
    'opens with the guarantees of the whole replicated directory',
  'server/backplane/federation/replication/replica/replica.ts':
    'one state machine: epoch, states, log and snapshots decide about each other',
}

/** Drawers: files named after what they are, not after what they do. */
const DRAWERS =
  /(^|\/)(utils?|helpers?|types?|misc|common|constants|interfaces)(\.[a-z]+)?\.(ts|mjs)$|\/(utils?|helpers?|types|common)\//

/** Domain logic is clocked from outside, so that whole networks of it run in virtual time from a seed. */
export function noAmbientTimeOrRandomness(file: SourceFile): string[] {
  if (isTestCode(file.path) || PLATFORM_EDGES.some((edge) => file.path.startsWith(edge))) return []
  return file.ambient.map(({ name, line }) => `${file.path}:${line} uses ${name}; take a Clock or a Random`)
}

/** A platform is injected; probing for it breaks as soon as a runtime looks like another. */
export function noPlatformProbes(file: SourceFile): string[] {
  if (!/^(core|client)\//.test(file.path) || isTestCode(file.path)) return []
  return file.platformProbes.map(({ name, line }) => `${file.path}:${line} asks ${name}; inject a Platform`)
}

/** An index is an explicit contract. */
export function noWholeReExports(file: SourceFile): string[] {
  return file.wholeReExports.map(
    ({ name, line }) => `${file.path}:${line} re-exports all of ${name}; name what is public`,
  )
}

/** A thing lives with what it serves. */
export function noDrawers(file: Pick<SourceFile, 'path'>): string[] {
  return DRAWERS.test(file.path) ? [`${file.path} is a drawer; put each thing beside what it serves`] : []
}

/** A file fits into a head; the few that do not say why. */
export function boundedLength(
  file: Pick<SourceFile, 'path' | 'lineCount'>,
  excused: Readonly<Record<string, string>> = LONGER_WITH_REASON,
): string[] {
  if (file.lineCount <= MAX_LINES || excused[file.path] !== undefined || /\.test\.ts$/.test(file.path)) return []
  return [`${file.path} has ${file.lineCount} lines, more than ${MAX_LINES}; split it, or give the reason in the list`]
}

/** Entries of the list that excuse nothing any more. */
export function staleExcuses(files: readonly Pick<SourceFile, 'path' | 'lineCount'>[]): string[] {
  return Object.keys(LONGER_WITH_REASON).filter(
    (path) => !files.some((file) => file.path === path && file.lineCount > MAX_LINES),
  )
}
