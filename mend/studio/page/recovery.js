// What is open in a page, kept where it outlives the page: versions of pictures, of which each has a file, and the marks.

const DAYS = 7; // after which it is removed

export class Recovery {
  // `store` has get, keys, put and delete; `page` is the key of this page.
  constructor(store, page, now = Date.now) {
    Object.assign(this, { store, page, now });
    this.written = new Set(); // versions whose files are in the store
    this.wanted = null; // what is to be kept next
    this.writing = null;
  }

  // Keep a state {versions: [{id, file, shown, …}], …} in place of the one before. What comes while one is written waits, and of
  // several that wait the last is kept.
  keep(state) {
    this.wanted = state;
    this.writing ??= this.#write().finally(() => (this.writing = null));
    return this.writing;
  }

  async #write() {
    while (this.wanted) {
      const { versions, ...rest } = this.wanted;
      this.wanted = null;
      for (const { id, file, shown } of versions) {
        if (this.written.has(id)) continue;
        await this.store.put("files", id, shown === file ? { file } : { file, shown });
        this.written.add(id);
      }
      const bare = versions.map(({ file, shown, ...one }) => one);
      await this.store.put("pages", this.page, { ...rest, versions: bare, time: this.now() });
    }
  }

  // The state of a page as it was kept; null where there is none, or one of its files is gone.
  async load(page = this.page) {
    const kept = await this.store.get("pages", page);
    if (!kept) return null;
    const versions = [];
    for (const one of kept.versions) {
      const files = await this.store.get("files", one.id);
      if (!files) return null;
      versions.push({ ...one, shown: files.file, ...files });
    }
    return { ...kept, versions };
  }

  // Go on with a state that was loaded: its files are in the store already, and stay.
  adopt({ versions }) {
    for (const { id } of versions) this.written.add(id);
  }

  // The page that was kept last, without those that are open.
  async latest(open) {
    const found = [];
    for (const page of await this.store.keys("pages")) {
      if (!open.has(page)) found.push([(await this.store.get("pages", page)).time, page]);
    }
    return found.sort(([a], [b]) => b - a)[0]?.[1] ?? null;
  }

  // Remove a page, and all that are old, and the files that none of the others has.
  async forget(page) {
    const used = new Set(this.written);
    for (const other of await this.store.keys("pages")) {
      const { time, versions } = await this.store.get("pages", other);
      if (other === page || (other !== this.page && time < this.now() - DAYS * 86_400_000)) await this.store.delete("pages", other);
      else for (const { id } of versions) used.add(id);
    }
    for (const id of await this.store.keys("files")) if (!used.has(id)) await this.store.delete("files", id);
  }
}
