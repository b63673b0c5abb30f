import { Acknowledger } from '../../../client/link/acknowledger.ts'
import { ChannelMachine } from '../../../client/link/channel/channel-machine.ts'
import { Chunks } from '../../../client/link/channel/chunks.ts'
import { Inbox } from '../../../client/link/channel/inbox.ts'
import { Outbox } from '../../../client/link/channel/outbox.ts'
import { ReceiveWindow } from '../../../client/link/receive-window.ts'
import { Recovery } from '../../../client/link/recovery.ts'
import { Scheduler } from '../../../client/link/scheduler.ts'
import { SendWindow } from '../../../client/link/send-window.ts'
import { Sending } from '../../../client/link/sending.ts'

/** One mistake somebody could make in the link. */
export interface Mutation {
  readonly name: string
  /** Makes it; the result takes it back. */
  apply(): () => void
}

/** What the simulation must notice. Each is one plausible bug, put in place of a method. */
export const MUTATIONS: readonly Mutation[] = [
  mutation('frames seen before are handled again', ReceiveWindow.prototype, 'accept', (real) => {
    return function (this: ReceiveWindow, seq, frame) {
      const place = real.call(this, seq, frame)
      return place === 'duplicate' ? 'next' : place
    }
  }),
  mutation('frames beyond a gap are handled at once', ReceiveWindow.prototype, 'accept', (real) => {
    return function (this: ReceiveWindow, seq, frame) {
      const place = real.call(this, seq, frame)
      return place === 'held' ? 'next' : place
    }
  }),
  mutation('frames beyond a gap are acknowledged but forgotten', ReceiveWindow.prototype, 'shift', () => {
    return () => undefined
  }),
  mutation('a change of path sends nothing again', SendWindow.prototype, 'markAllLost', () => () => undefined),
  mutation('an acknowledgement counts for one frame more', SendWindow.prototype, 'acknowledge', (real) => {
    return function (this: SendWindow, ack, ranges) {
      const more = this.outstandingFrames > 3 && ranges.length === 0 && ack % 7n === 3n ? 1n : 0n
      return real.call(this, ack + more, ranges)
    }
  }),
  mutation('those who wait for frames in flight are not told of the end', SendWindow.prototype, 'fail', () => {
    return () => undefined
  }),
  mutation('a packet that brings data is not acknowledged by itself', Acknowledger.prototype, 'received', () => {
    return () => undefined
  }),
  mutation('an acknowledgement is owed for ever', Acknowledger.prototype, 'sent', () => () => undefined),
  mutation('the retransmission timeout never expires', Recovery.prototype, 'expired', () => () => false),
  mutation('a silent relay is waited for without end', Recovery.prototype, 'dead', () => () => false),
  mutation('the other side is given up when it falls silent', Recovery.prototype, 'dead', (real) => {
    return function (this: Recovery, path, nowMs) {
      return real.call(this, path, nowMs) || this.silent(path, nowMs)
    }
  }),
  mutation('a silent side is not asked again', Recovery.prototype, 'expired', (real) => {
    return function (this: Recovery, path, nowMs) {
      return path?.silent === true ? false : real.call(this, path, nowMs)
    }
  }),
  mutation('frames that were not acknowledged are not reported', Sending.prototype, 'fail', (real) => {
    return function (this: Sending, error) {
      real.call(this, error)
      return 0
    }
  }),
  mutation('credit is never renewed', Inbox.prototype, 'creditDue', () => () => undefined),
  mutation('new credit does not wake the channel', ChannelMachine.prototype, 'receiveCredit', () => {
    return function (this: ChannelMachine, credit) {
      this.outbox.grant(credit)
    }
  }),
  mutation('a datagram is handed on twice', ChannelMachine.prototype, 'receiveDatagram', (real) => {
    return function (this: ChannelMachine, data) {
      real.call(this, data)
      real.call(this, data)
    }
  }),
  mutation('the end of a channel is not passed on', ChannelMachine.prototype, 'receiveEnd', () => () => undefined),
  mutation('nobody is told that a message was delivered', Outbox.prototype, 'push', (real) => {
    return function (this: Outbox, bytes) {
      return real.call(this, bytes)
    }
  }),
  mutation('bytes are put into packets without regard to credit', Outbox.prototype, 'grant', (real) => {
    return function (this: Outbox, credit) {
      real.call(this, credit + 100_000)
    }
  }),
  mutation('the last piece of a message is put first', Chunks.prototype, 'takeAll', (real) => {
    return function (this: Chunks) {
      const all = real.call(this)
      return Uint8Array.from([...all.subarray(-1_000), ...all.subarray(0, -1_000)])
    }
  }),
  mutation('data overtakes the opening of its channel', Scheduler.prototype, 'nextUrgent', (real) => {
    let delayed = 0
    return function (this: Scheduler, maxBytes) {
      delayed += 1
      return delayed % 3 === 0 ? (this.nextData(maxBytes) ?? real.call(this, maxBytes)) : real.call(this, maxBytes)
    }
  }),
]

function mutation<T extends object, K extends keyof T>(
  name: string,
  prototype: T,
  method: K,
  make: (real: T[K]) => T[K],
): Mutation {
  return {
    name,
    apply() {
      const real = prototype[method]
      prototype[method] = make(real)
      return () => {
        prototype[method] = real
      }
    },
  }
}
