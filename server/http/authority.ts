import { isIP } from 'node:net'
import { isHttp2, type NodeRequest } from './request.ts'

/** The host and port a client addressed: lower case, default ports left out, IPv6 in brackets. */
export function normalizeAuthority(authority: string): string {
  return authority.toLowerCase().replace(/:(80|443)$/, '')
}

/** `:authority` (HTTP/2) or Host (HTTP/1.1), normalized; empty when the request has none. */
export function authorityOf(request: NodeRequest): string {
  const authority = isHttp2(request) ? request.authority : request.headers.host
  return normalizeAuthority(authority ?? '')
}

/** Host part of an authority, without brackets. */
export function hostOf(authority: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(authority)
  return bracketed?.[1] ?? (authority.split(':', 1)[0] as string)
}

/** True for names and addresses that never leave the machine. */
export function isLoopbackHost(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost')) return true
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1'
}
