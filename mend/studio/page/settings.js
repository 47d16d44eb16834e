// What is remembered of a person: the value of an input, or whether it is checked.

export function remember(input) {
  const key = `mend ${input.id}`;
  const field = input.type === "checkbox" ? "checked" : "value";
  try {
    const kept = localStorage.getItem(key);
    if (kept !== null) input[field] = JSON.parse(kept);
    input.addEventListener("change", () => localStorage.setItem(key, JSON.stringify(input[field])));
  } catch {} // a browser that keeps nothing, or another program's value
}
