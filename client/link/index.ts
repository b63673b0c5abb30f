// The link, as the connection uses it. What is not listed here is private to this folder.

export type { OpenChannelOptions } from './channel/channel-table.ts'
export { LinkChannel, type WaitOptions } from './channel/link-channel.ts'
export type { Listener } from './channel/reader.ts'
export { Link } from './link.ts'
export type { ControlFrame, LinkCloseReport, LinkEffects, LinkOptions, LinkStats } from './link-effects.ts'
export { DEFAULT_LINK_LIMITS, INITIAL_CREDIT_BYTES, type LinkLimits, MAX_DATA_BYTES } from './link-limits.ts'
export type { PathName } from './path-state.ts'
