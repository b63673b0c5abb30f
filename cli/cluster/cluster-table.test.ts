import { describe, expect, test } from 'vitest'
import { makeStyle } from '../terminal/style.ts'
import { clusterTable } from './cluster-table.ts'
import { type FederationPage, originsSeenBy, type ServerView, streamsOf } from './cluster-view.ts'

type Origin = FederationPage['origins'][number]

const KEYS = ['aa'.repeat(32), 'bb'.repeat(32), 'cc'.repeat(32)] as const
const STYLE = makeStyle(false, {})

function origin(of: number, changes: Partial<Origin> = {}): Origin {
  const key = KEYS[of - 1] ?? ''
  const [seq, digest] = [String(of * 10), `0${of}`.repeat(32)]
  return {
    key,
    epoch: `${of}000000`,
    seq,
    head: seq,
    lag: 0,
    rows: of,
    digest,
    state: 'live',
    msSinceState: 400,
    ...changes,
  }
}

function server(number: number, origins: readonly Origin[], state: ServerView['state'] = 'running'): ServerView {
  const neighbours = origins
    .filter(({ key }) => key !== KEYS[number - 1])
    .map(({ key, state }) => ({ key, directory: state === 'live', messages: state === 'live' }))
  const page = state === 'running' ? { stats: { sessions: number }, origins, neighbours } : undefined
  return { number, key: KEYS[number - 1] ?? '', port: 4599 + number, pid: 100 + number, state, page }
}

const SERVERS = [
  server(1, [
    origin(2, { seq: '17', digest: '99'.repeat(32) }),
    origin(1),
    origin(3, { state: 'hidden', msSinceState: 12_300 }),
  ]),
  server(2, [origin(1, { digest: '77'.repeat(32) }), origin(2), origin(3)]),
  server(3, [], 'suspended'),
]

describe('what a server of a cluster sees', () => {
  test('is its own origin first, and whether others are as they say of themselves', () => {
    const [first, second] = SERVERS as [ServerView, ServerView]
    expect(originsSeenBy(first, SERVERS).map(({ of, own, lag, agrees }) => ({ of, own, lag, agrees }))).toEqual([
      { of: 1, own: true, lag: 0, agrees: true },
      { of: 2, own: false, lag: 3, agrees: undefined },
      { of: 3, own: false, lag: 0, agrees: undefined },
    ])
    expect(originsSeenBy(second, SERVERS).map(({ agrees }) => agrees)).toEqual([true, false, undefined])
  })

  test('compares nothing across two starts of an origin', () => {
    const servers = [server(1, [origin(1), origin(2, { epoch: '1', seq: '3', lag: 2 })]), server(2, [origin(2)])]
    expect(originsSeenBy(servers[0] as ServerView, servers)[1]).toMatchObject({ lag: 2, agrees: undefined })
  })

  test('counts the streams that are up', () => {
    expect(SERVERS.map((view) => streamsOf(view, SERVERS))).toEqual([
      { up: 2, all: 4 },
      { up: 4, all: 4 },
      { up: 0, all: 4 },
    ])
  })
})

describe('the table of a cluster', () => {
  test('has every view of every origin where there is room', () => {
    expect(clusterTable(SERVERS, { columns: 80, rows: 24, style: STYLE })).toEqual([
      ' 1  :4600  running    pid 101      aaaaaaaa  1 session  2/4 streams',
      '      sees  state   epoch      rows     lag  digest      heard  via',
      '      own   live    0f4240        1       –  01010101        –    –',
      '      2     live    1e8480        2       3  99999999    0.4 s    –',
      '      3     hidden  2dc6c0        3       0  03030303     12 s    –',
      '',
      ' 2  :4601  running    pid 102      bbbbbbbb  2 sessions  4/4 streams',
      '      sees  state   epoch      rows     lag  digest      heard  via',
      '      own   live    1e8480        2       –  02020202        –    –',
      '      1     live    0f4240        1       0  77777777    0.4 s    –',
      '      3     live    2dc6c0        3       0  03030303    0.4 s    –',
      '',
      ' 3  :4602  suspended  pid 103      cccccccc',
    ])
  })

  test('says through whom an origin is heard that cannot be heard itself', () => {
    const servers = [
      server(1, [origin(1), origin(2, { via: KEYS[2] }), origin(3)]),
      server(2, [origin(2), origin(1, { via: 'dd'.repeat(32) }), origin(3)]),
      server(3, [origin(3), origin(1), origin(2)]),
    ]
    const screen = { columns: 80, style: STYLE }
    const lines = clusterTable(servers, { ...screen, rows: 24 })
    expect(lines[3]).toBe('      2     live    1e8480        2       0  02020202    0.4 s    3')
    expect(lines[9]).toBe('      1     live    0f4240        1       0  01010101    0.4 s  dddddddd')
    expect(clusterTable(servers, { ...screen, columns: 90, rows: 5 })).toEqual([
      ' 1  :4600  running    aaaaaaaa  1 session  4/4 streams  3 live, 2 via 3, 6 rows',
      ' 2  :4601  running    bbbbbbbb  2 sessions  4/4 streams  3 live, 1 via dddddddd, 6 rows',
      ' 3  :4602  running    cccccccc  3 sessions  4/4 streams  3 live, 6 rows',
    ])
  })

  test('has one line per server where there is not', () => {
    expect(clusterTable(SERVERS, { columns: 120, rows: 5, style: STYLE })).toEqual([
      ' 1  :4600  running    aaaaaaaa  1 session  2/4 streams  2 live, hidden 3, 6 rows, lag 3',
      ' 2  :4601  running    bbbbbbbb  2 sessions  4/4 streams  3 live, 6 rows, digests differ',
      ' 3  :4602  suspended  cccccccc',
    ])
  })

  test('is never larger than the screen', () => {
    const lines = clusterTable(SERVERS, { columns: 30, rows: 2, style: makeStyle(true, {}) })
    expect(lines).toHaveLength(2)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of a terminal begin with one.
    for (const line of lines) expect(line.replaceAll(/\u001b\[\d+m/g, '').length).toBeLessThanOrEqual(30)
  })
})
