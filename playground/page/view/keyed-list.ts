/** One item of a list on the page. */
export interface ItemView<Item> {
  readonly node: Element
  update(item: Item): void
}

/**
 * Keeps the children of a node in step with a list: an item keeps its node, and with it focus, selection and open panels, for
 * as long as its key is in the list.
 */
export class KeyedList<Item> {
  readonly #parent: Element
  readonly #keyOf: (item: Item) => string
  readonly #create: (item: Item) => ItemView<Item>
  readonly #views = new Map<string, ItemView<Item>>()

  constructor(parent: Element, keyOf: (item: Item) => string, create: (item: Item) => ItemView<Item>) {
    this.#parent = parent
    this.#keyOf = keyOf
    this.#create = create
  }

  /** Returns true when items were added. */
  update(items: readonly Item[]): boolean {
    const keys = new Set(items.map(this.#keyOf))
    for (const [key, view] of this.#views) {
      if (keys.has(key)) continue
      view.node.remove()
      this.#views.delete(key)
    }
    let added = false
    let place = this.#parent.firstElementChild
    for (const item of items) {
      const key = this.#keyOf(item)
      let view = this.#views.get(key)
      if (!view) {
        view = this.#create(item)
        this.#views.set(key, view)
        added = true
      }
      // Moving a node would take its focus, so only those out of place are moved.
      if (view.node === place) place = place.nextElementSibling
      else this.#parent.insertBefore(view.node, place)
      view.update(item)
    }
    return added
  }
}
