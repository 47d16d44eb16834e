// A few tables in the browser, which stay when the page goes (IndexedDB). Values may hold files.

const NAME = "mend studio";
const TABLES = ["pages", "files"];

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

export class Store {
  static async open() {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => TABLES.forEach((table) => request.result.createObjectStore(table));
    const store = new Store();
    store.database = await settled(request);
    return store;
  }

  get = (table, key) => settled(this.#table(table).get(key));
  keys = (table) => settled(this.#table(table).getAllKeys());
  put = (table, key, value) => settled(this.#table(table, "readwrite").put(value, key));
  delete = (table, key) => settled(this.#table(table, "readwrite").delete(key));

  #table(name, mode = "readonly") {
    return this.database.transaction(name, mode).objectStore(name);
  }
}
