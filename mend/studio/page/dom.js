// What the parts of the page share.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Asks an address again and again: its answer where that is another than the last, and null.
export function watcher(url) {
  let last;
  return async () => {
    const answer = await fetch(url).then((found) => (found.ok ? found.text() : null)).catch(() => null);
    if (!answer || answer === last) return null;
    last = answer;
    return JSON.parse(answer);
  };
}
