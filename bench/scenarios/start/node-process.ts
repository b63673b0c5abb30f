import { weriftFactory } from '@mesh/client/werift'
import { serveWorker } from '../../harness/worker.ts'
import { host, type Meeting, visit } from './link-start.ts'

/** One peer of a link that starts; each in a process of its own, as in life. */
const rtc = weriftFactory()

serveWorker({
  host: ({ origin }: { origin: string }) => host(origin, rtc),
  visit: (meeting: Meeting) => visit(meeting, rtc),
})
