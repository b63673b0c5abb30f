import { type Clock, systemClock } from '@mesh/core'
import type { RtcConfiguration, RtcConnection, RtcFactory } from '../../connection/rtc.ts'
import { WeriftConnection } from './connection.ts'
import { hostAddresses } from './gathering.ts'
import { pickIceServers } from './ice-options.ts'
import { loadWerift, type WeriftCertificate, type WeriftModule } from './werift-internals.ts'

export interface WeriftOptions {
  /**
   * Local addresses to offer besides those of the network interfaces, literal; `['127.0.0.1']` lets processes on one machine
   * meet. A machine with no other address offers loopback by itself. Default none.
   */
  additionalHostAddresses?: readonly string[]
  /** Offer exactly these local addresses and no other. Default: those of the network interfaces. */
  hostAddresses?: readonly string[]
  /** A connection that has not come about after this time is 'failed'. Milliseconds, default 30,000. */
  connectTimeoutMs?: number
  /** Told what was dropped, refused or failed, with the error if there is one. Default: nobody. */
  log?: (message: string, detail?: unknown) => void
  /** Default: the system's. */
  clock?: Clock
}

/** W3C gives every connection a new certificate; making one takes longer than using it, so connections of an hour share. */
const CERTIFICATE_MS = 3_600_000

/**
 * WebRTC for Node in TypeScript alone: werift 0.25.2, hardened. werift is loaded at the first `create()` or `warm()`.
 * `create` rejects with INVALID_ARGUMENT, RELAY_CREDENTIALS or NO_CANDIDATES for a configuration that cannot work.
 */
export function weriftFactory(options: WeriftOptions = {}): RtcFactory {
  return new WeriftFactory(options)
}

class WeriftFactory implements RtcFactory {
  readonly #options: WeriftOptions
  readonly #clock: Clock
  #certificate: { readonly made: Promise<WeriftCertificate>; readonly atMs: number } | undefined
  #connections = 0

  constructor(options: WeriftOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  /** Loads werift and makes a certificate: about 150 ms that the first dial then does not take. */
  async warm(): Promise<void> {
    await this.#certified(await loadWerift())
  }

  async create(configuration: RtcConfiguration): Promise<RtcConnection> {
    const servers = pickIceServers(configuration, this.#connections)
    this.#connections += 1
    const werift = await loadWerift()
    const certificate = await this.#certified(werift)
    return new WeriftConnection({
      werift,
      certificate,
      servers,
      hostAddresses: this.#options.hostAddresses ?? hostAddresses(werift, this.#options.additionalHostAddresses ?? []),
      clock: this.#clock,
      connectTimeoutMs: this.#options.connectTimeoutMs ?? 30_000,
      log: this.#options.log ?? (() => {}),
    })
  }

  #certified(werift: WeriftModule): Promise<WeriftCertificate> {
    const nowMs = this.#clock.monotonicMs()
    if (this.#certificate === undefined || nowMs - this.#certificate.atMs > CERTIFICATE_MS) {
      const made = makeCertificate(werift)
      const entry = { made, atMs: nowMs }
      this.#certificate = entry
      // A failure is told to those who wait for it and not kept for those who come later.
      made.catch(() => {
        if (this.#certificate === entry) this.#certificate = undefined
      })
    }
    return this.#certificate.made
  }
}

const SHA256_ECDSA = { hash: 4, signature: 3 } as const
const SECP256R1 = 23

/** werift's own certificate is one for the whole process, for ever; this one belongs to the factory. */
async function makeCertificate(werift: WeriftModule): Promise<WeriftCertificate> {
  const made = await werift.CipherContext.createSelfSignedCertificateWithKey(SHA256_ECDSA, SECP256R1)
  return new werift.RTCCertificate(made.keyPem, made.certPem, made.signatureHash)
}
