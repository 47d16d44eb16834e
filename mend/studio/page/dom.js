// What the parts of the page share.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export const seconds = (value) => (value < 0.1 ? "under 0.1\u00a0s" : `${value.toFixed(value < 10 ? 1 : 0)}\u00a0s`);
