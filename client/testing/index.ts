/** @mesh/client/testing: peers, a signaling server and WebRTC in memory, for tests of applications. */
export {
  type MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryServer,
  memoryNetwork,
  signalingRoutes,
} from './memory-network.ts'
export type { MemoryRtc } from './memory-rtc.ts'
export type { MemorySignalService, MemorySuccessor, Tampering } from './memory-signal-service.ts'
