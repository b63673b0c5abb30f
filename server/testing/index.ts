/** Test equipment for suites that cross packages. Only in the sources: it is not part of the published package. */

export { refusalOf } from './reason-of.ts'
export { selfSigned } from './self-signed.ts'
export { eventually, type Served, useServers } from './serve.ts'
export {
  ExchangeCall,
  isPlain,
  Subscription,
  TestPeer,
  type TestPeerOptions,
  transportOf,
  WIRES,
  type Wire,
} from './test-peer.ts'
