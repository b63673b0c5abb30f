import { formatDuration } from '../quantity.ts'
import { clip, printable, type Style } from '../terminal/style.ts'
import { type OriginView, originsSeenBy, type ServerView, streamsOf } from './cluster-view.ts'

export interface Screen {
  readonly columns: number
  /** Lines there is room for. */
  readonly rows: number
  readonly style: Style
}

const STATE_WIDTH = 'suspended'.length
const HEADER = ['sees', 'state', 'epoch', 'rows', 'lag', 'digest', 'heard', 'via'] as const
const WIDTHS = [4, 6, 6, 7, 6, 8, 7, 3] as const
/** Columns of numbers stand right. */
const RIGHT = new Set<number>([3, 4, 6, 7])

/** Every server's view of every origin; one line per server where there is no room for more. */
export function clusterTable(servers: readonly ServerView[], { columns, rows, style }: Screen): string[] {
  const detailed = servers.flatMap((server, index) => [
    ...(index === 0 ? [] : ['']),
    serverLine(server, servers, { style, isBrief: false }),
    ...originLines(originsSeenBy(server, servers), style),
  ])
  const brief = servers.map((server) => {
    const origins = originsSeenBy(server, servers)
    const line = serverLine(server, servers, { style, isBrief: true })
    return [line, ...(origins.length === 0 ? [] : [summary(origins, style)])].join('  ')
  })
  const lines = detailed.length <= rows ? detailed : brief
  return lines.slice(0, Math.max(0, rows)).map((line) => clip(line, columns))
}

/** Without the process id where the line goes on: what is wrong has to fit into 80 columns. */
function serverLine(
  server: ServerView,
  servers: readonly ServerView[],
  { style, isBrief }: { readonly style: Style; readonly isBrief: boolean },
): string {
  const { number, port, state, pid, page, key } = server
  const parts = [
    style.bold(String(number).padStart(2)),
    `:${port}`,
    colouredState(state, style),
    ...(isBrief ? [] : [style.dim((pid === undefined ? '' : `pid ${pid}`).padEnd('pid 4194304'.length))]),
    style.dim(key.slice(0, 8)),
  ]
  if (page === undefined) return [...parts, ...(state === 'running' ? [style.warning('no answer')] : [])].join('  ')
  const { up, all } = streamsOf(server, servers)
  const { sessions = 0 } = page.stats
  const streams = `${up}/${all} streams`
  const people = sessions === 1 ? '1 session' : `${sessions} sessions`
  return [...parts, people, up === all ? streams : style.warning(streams)].join('  ')
}

function colouredState(state: ServerView['state'], style: Style): string {
  const text = state.padEnd(STATE_WIDTH)
  if (state === 'running') return style.good(text)
  return state === 'dead' ? style.bad(text) : style.warning(text)
}

function originLines(origins: readonly OriginView[], style: Style): string[] {
  if (origins.length === 0) return []
  return [style.dim(row(HEADER, (text) => text)), ...origins.map((origin) => originLine(origin, style))]
}

function originLine(origin: OriginView, style: Style): string {
  const { of, own, state, epoch, rows, lag, digest, agrees, via, msSinceState } = origin
  const cells = [
    own ? 'own' : String(of ?? '?'),
    state,
    // The low bits: the random ones.
    BigInt(epoch).toString(16).slice(-6).padStart(6, '0'),
    String(rows),
    own ? '–' : String(lag),
    digest.slice(0, 8),
    own ? '–' : formatDuration(msSinceState),
    via === undefined ? '–' : nameOf(via),
  ]
  return row(cells, (text, column) => {
    if (column === 1) return state === 'live' ? style.good(text) : style.warning(text)
    if (column === 4) return lag > 0 ? style.warning(text) : text
    if (column === 7) return via === undefined ? text : style.warning(text)
    return column === 5 && agrees === false ? style.bad(text) : text
  })
}

function row(cells: readonly string[], paint: (text: string, column: number) => string): string {
  const padded = cells.map((text, column) => {
    const width = WIDTHS[column] ?? 0
    return paint(RIGHT.has(column) ? text.padStart(width) : text.padEnd(width), column)
  })
  return `      ${padded.join('  ')}`
}

function nameOf(via: number | string): string {
  return printable(String(via)).slice(0, 8)
}

/** "2 live, 2 via 3, hidden 4, 25 rows, lag 4". */
function summary(origins: readonly OriginView[], style: Style): string {
  const hidden = origins.filter(({ state }) => state === 'hidden').map(({ of }) => of ?? '?')
  const passedOn = origins.flatMap(({ of, via }) => (via === undefined ? [] : [`${of ?? '?'} via ${nameOf(via)}`]))
  const lag = origins.reduce((most, origin) => Math.max(most, origin.lag), 0)
  const parts = [
    `${origins.length - hidden.length} live`,
    ...passedOn.map((text) => style.warning(text)),
    ...(hidden.length === 0 ? [] : [style.warning(`hidden ${hidden.join(' ')}`)]),
    `${origins.reduce((sum, { rows }) => sum + rows, 0)} rows`,
    ...(lag === 0 ? [] : [style.warning(`lag ${lag}`)]),
    ...(origins.some(({ agrees }) => agrees === false) ? [style.bad('digests differ')] : []),
  ]
  return parts.join(', ')
}
