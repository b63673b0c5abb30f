/** Amounts and times as people read them. */

/** "812 B", "1.4 KB", "23 MB": decimal units, as file managers show them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  const units = ['KB', 'MB', 'GB', 'TB']
  let value = bytes / 1_000
  let unit = 0
  // 999.95 would be shown as "1000".
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000
    unit++
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`
}

/** Round-trip times: "<1 ms", "7 ms", "1.2 s"; an en dash when there is none. */
export function formatRtt(rttMs: number | undefined): string {
  if (rttMs === undefined) return '–'
  if (rttMs < 1) return '<1 ms'
  return rttMs < 999.5 ? `${Math.round(rttMs)} ms` : `${(rttMs / 1_000).toFixed(1)} s`
}

/** "0:07", "12:40", "1:02:03". */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  const pad = (value: number) => String(value).padStart(2, '0')
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`
}

/** "just now", "40 s ago", "12 min ago", "3 h ago". */
export function formatAgo(ms: number): string {
  if (ms < 5_000) return 'just now'
  if (ms < 60_000) return `${Math.floor(ms / 1_000)} s ago`
  return ms < 3_600_000 ? `${Math.floor(ms / 60_000)} min ago` : `${Math.floor(ms / 3_600_000)} h ago`
}

/** "ab12cd34…9f00": the ends of a checksum, for comparing by eye. */
export function shortChecksum(hex: string): string {
  return hex.length <= 16 ? hex : `${hex.slice(0, 8)}…${hex.slice(-4)}`
}

/** "1 peer", "3 peers". */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${amount} ${amount === 1 ? one : many}`
}
