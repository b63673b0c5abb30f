import { systemClock, systemRandom } from '@mesh/core'
import type { Platform } from '../platform.ts'
import { nodeAead } from './aead.ts'
import { nodeIdentityStore } from './identity-store.ts'
import { nodeLifecycle } from './lifecycle.ts'
import { connectNode } from './signal-transport.ts'
import { weriftFactory } from './werift/index.ts'

/** Node: gRPC over HTTP/2, werift, identities in files. */
export function platform(): Platform {
  return {
    clock: systemClock,
    random: systemRandom,
    identities: nodeIdentityStore(),
    rtc: weriftFactory(),
    aead: nodeAead,
    lifecycle: nodeLifecycle(systemClock),
    connect: connectNode,
  }
}
