// The pages of a browser: each has a key, which outlives it, and holds a lock while it is open.

export const token = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// The keys of those that are open. Over a network without TLS a browser has no locks.
export async function openPages() {
  const { held } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name));
}

// The key of this one: a page that is loaded again has the same, a copy of it gets another.
export async function pageKey() {
  const before = sessionStorage.getItem("page");
  const hold = (key) => new Promise((got) => {
    if (!navigator.locks) return got(true);
    navigator.locks.request(key, { ifAvailable: true }, (lock) => (got(Boolean(lock)), lock && new Promise(() => {})));
  });
  if (before && (await hold(before))) return before;
  const key = token();
  await hold(key);
  sessionStorage.setItem("page", key);
  return key;
}
