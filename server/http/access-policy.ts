import { cors } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import { authorityOf, hostOf, isLoopbackHost, normalizeAuthority } from './authority.ts'
import type { NodeRequest, NodeResponse } from './request.ts'

export interface AccessPolicyOptions {
  /** Address the server is bound to. */
  readonly host: string
  readonly port: number
  /** Host names, with or without port, under which clients reach the server. Required unless bound to loopback. */
  readonly allowedHosts: readonly string[] | undefined
  /** Origins of web pages that may call, for example "https://app.example"; "*" for any. */
  readonly allowedOrigins: readonly string[] | undefined
}

/** Seconds a browser may remember the answer to a preflight. Two hours is the most Chromium does. */
const PREFLIGHT_MAX_AGE_SECONDS = 7_200

const ALLOWED_HEADERS = [...cors.allowedHeaders, 'Authorization'].join(', ')
const EXPOSED_HEADERS = cors.exposedHeaders.join(', ')

/**
 * Which hosts the server answers for and which web pages may call it.
 *
 * Host: a page that resolves its own name to this machine (DNS rebinding) is recognised by the host it asks for. Origin:
 * requests of web pages carry it; programs send none and are not affected. `null` (sandboxed frames, files) is never allowed.
 * Bound to loopback, the defaults are loopback names with the server's port, and pages served from loopback. Otherwise the
 * operator must say the hosts; pages served by the server itself may always call it.
 */
export class AccessPolicy {
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  readonly #loopbackOrigins: boolean

  /** @throws MeshError CONFIGURATION when the hosts are missing. */
  constructor({ host, port, allowedHosts, allowedOrigins }: AccessPolicyOptions) {
    const loopback = isLoopbackHost(host)
    if (allowedHosts === undefined && !loopback) {
      const message = `a server on ${host} needs allowedHosts: the names under which clients reach it`
      throw new MeshError(ErrorReason.CONFIGURATION, message)
    }
    const hosts = allowedHosts ?? ['localhost', '127.0.0.1', '[::1]'].map((name) => `${name}:${port}`)
    this.#hosts = new Set(hosts.flatMap((entry) => authoritiesOf(entry, port)))
    this.#origins = new Set(allowedOrigins)
    this.#loopbackOrigins = allowedOrigins === undefined && loopback
  }

  allowsHost(authority: string): boolean {
    return this.#hosts.has(authority)
  }

  /** `origin` undefined: not a web page. `authority` is the host the request was sent to. */
  allowsOrigin(origin: string | undefined, authority: string): boolean {
    if (origin === undefined) return true
    if (!URL.canParse(origin)) return false
    const { protocol, host } = new URL(origin)
    if (protocol !== 'http:' && protocol !== 'https:') return false
    if (this.#origins.has('*') || this.#origins.has(origin) || normalizeAuthority(host) === authority) return true
    return this.#loopbackOrigins && isLoopbackHost(hostOf(host))
  }

  /** Lets the page of an allowed origin read the response, and the fields that gRPC-Web and Connect need. */
  writeHeaders(request: NodeRequest, response: NodeResponse): void {
    const { origin } = request.headers
    if (origin === undefined) return
    response.setHeader('access-control-allow-origin', origin)
    response.setHeader('access-control-expose-headers', EXPOSED_HEADERS)
    response.setHeader('vary', 'origin')
  }

  /** Answers a preflight. */
  respondPreflight(response: NodeResponse): void {
    response.setHeader('access-control-allow-methods', 'GET, POST')
    response.setHeader('access-control-allow-headers', ALLOWED_HEADERS)
    response.setHeader('access-control-max-age', PREFLIGHT_MAX_AGE_SECONDS)
    response.statusCode = 204
    response.end()
  }

  /** Why a request is refused before anything looks at it; undefined when it is not. */
  refusal(request: NodeRequest): 'host' | 'origin' | undefined {
    const authority = authorityOf(request)
    if (!this.allowsHost(authority)) return 'host'
    return this.allowsOrigin(request.headers.origin, authority) ? undefined : 'origin'
  }
}

/** A host without a port stands for the default ports (a proxy in front) and for the port the server listens on. */
function authoritiesOf(entry: string, port: number): string[] {
  const authority = entry.toLowerCase()
  const hasPort = /:\d+$/.test(authority) && !/^[^[]*:.*:/.test(authority)
  if (hasPort) return [normalizeAuthority(authority)]
  return [authority, normalizeAuthority(`${authority}:${port}`)]
}
