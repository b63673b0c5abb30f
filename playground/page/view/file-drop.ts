/** Lets files be dropped on a node: it has the class "drop" while they hover over it. */
export function acceptFiles(node: Element, onFiles: (files: readonly File[]) => void): void {
  // Entering a child fires before leaving its parent.
  let depth = 0
  const show = (change: number) => {
    depth = Math.max(0, depth + change)
    node.classList.toggle('drop', depth > 0)
  }
  const listen = (name: string, listener: (event: DragEvent) => void) =>
    node.addEventListener(name, (event) => {
      if (!(event instanceof DragEvent) || !event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      listener(event)
    })
  listen('dragenter', () => show(+1))
  listen('dragleave', () => show(-1))
  listen('dragover', (event) => {
    if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
  })
  listen('drop', (event) => {
    show(-depth)
    onFiles([...(event.dataTransfer?.files ?? [])])
  })
}

/** A file that misses its target must not replace the page. */
export function ignoreStrayFiles(): void {
  for (const name of ['dragover', 'drop'] as const) {
    window.addEventListener(name, (event) => {
      if (!event.defaultPrevented && event.dataTransfer) event.dataTransfer.dropEffect = 'none'
      event.preventDefault()
    })
  }
}

/** Opens the browser's file dialog. */
export function chooseFiles(onFiles: (files: readonly File[]) => void): void {
  const input = document.createElement('input')
  input.type = 'file'
  input.multiple = true
  input.addEventListener('change', () => onFiles([...(input.files ?? [])]))
  input.click()
}
