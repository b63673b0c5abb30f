/** @mesh/client/testing: peers, a signaling server and WebRTC in memory, for tests of applications. */
export { type MemoryNetwork, type MemoryNetworkOptions, memoryNetwork, signalingRoutes } from './memory-network.ts'
export type { MemoryRtc } from './memory-rtc.ts'
export type { MemorySignalService, Tampering } from './memory-signal-service.ts'
