/** What runs inside the two browser pages of the start scenario; the scenario calls it by name. */
import { host, type LinkTimes, type Meeting, visit } from './link-start.ts'

export interface StartPage {
  host(origin: string): Promise<Meeting>
  visit(meeting: Meeting): Promise<LinkTimes>
}

const page: StartPage = {
  host: (origin) => host(origin, undefined),
  visit: (meeting) => visit(meeting, undefined),
}

Object.assign(globalThis, { bench: page })
