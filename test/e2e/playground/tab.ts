import type { Browser, BrowserContext, Locator, Page } from 'playwright-core'

const LIMIT_MS = 30_000

/** One browser tab with the playground in it, and what a person does and sees there. */
export class Tab {
  readonly page: Page
  /** What the page complained about on its console, and errors nobody caught. */
  readonly complaints: string[] = []

  static async open(context: BrowserContext, url: string): Promise<Tab> {
    const tab = new Tab(await context.newPage())
    await tab.page.goto(url)
    await tab.page.getByRole('status').getByText('In the party').waitFor({ timeout: LIMIT_MS })
    return tab
  }

  private constructor(page: Page) {
    this.page = page
    page.setDefaultTimeout(LIMIT_MS)
    page.on('pageerror', (error) => this.complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text())
    })
  }

  get nameField(): Locator {
    return this.page.getByRole('textbox', { name: 'You are' })
  }

  get partyField(): Locator {
    return this.page.getByRole('textbox', { name: 'Party' })
  }

  get name(): Promise<string> {
    return this.nameField.inputValue()
  }

  /** Own peer id, in full. */
  async id(): Promise<string> {
    const label = await this.page.getByRole('button', { name: 'Copy your id' }).getAttribute('aria-label')
    return /mesh1\w+/.exec(label ?? '')?.[0] ?? ''
  }

  person(name: string): Locator {
    return this.page.getByRole('list', { name: 'People in the party' }).getByRole('listitem').filter({ hasText: name })
  }

  get conversation(): Locator {
    return this.page.getByRole('log', { name: 'Conversation' })
  }

  /** Resolves when the list says that the peer is connected directly. */
  async directTo(name: string): Promise<void> {
    await this.person(name).locator('.path-direct').waitFor()
  }

  /** Resolves when the list says that messages to the peer go through the server. */
  async relayedTo(name: string): Promise<void> {
    await this.person(name).locator('.path-relay').waitFor()
  }

  /** Types a message that was not said before and sends it by Enter; returns its entry. */
  async say(text: string): Promise<Locator> {
    await this.page.getByLabel('Message to everybody').fill(text)
    await this.page.keyboard.press('Enter')
    return this.conversation.locator('.message.own').filter({ hasText: text })
  }

  async hears(text: string): Promise<void> {
    await this.conversation.getByText(text, { exact: true }).first().waitFor()
  }

  /** Chooses a file for a peer in the file dialog. */
  async sendFile(to: string, file: { name: string; contents: Buffer }): Promise<void> {
    const { name, contents: buffer } = file
    const [chooser] = await Promise.all([
      this.page.waitForEvent('filechooser'),
      this.page.getByRole('button', { name: `Send a file to ${to}` }).click(),
    ])
    await chooser.setFiles({ name, buffer, mimeType: 'application/octet-stream' })
  }

  /** Drops a file on a peer in the drawing. */
  async dropFile(on: string, file: { name: string; text: string }): Promise<void> {
    const dataTransfer = await this.page.evaluateHandle(({ name, text }) => {
      const transfer = new DataTransfer()
      transfer.items.add(new File([text], name))
      return transfer
    }, file)
    const node = this.page.locator('.node.peer').filter({ hasText: on })
    await node.dispatchEvent('dragenter', { dataTransfer })
    await node.dispatchEvent('drop', { dataTransfer })
  }

  transfer(name: string): Locator {
    return this.conversation.locator('.transfer').filter({ hasText: name })
  }

  /** How many pixels the page is wider than its window; 0 or less when it fits. */
  overflow(): Promise<number> {
    return this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
  }
}

/** Tabs of one browser: they share its storage, and so have to share out its identities. */
export function newContext(browser: Browser): Promise<BrowserContext> {
  return browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true })
}
