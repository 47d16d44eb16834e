// A mask as numbers: one byte a pixel, 1 = marked.

// The lengths of its runs, row after row, unmarked and marked by turns: a few kilobytes for millions of pixels.
export function pack(bytes) {
  const runs = [];
  for (let at = 0, value = 0; at < bytes.length; value ^= 1) {
    const next = bytes.indexOf(value ^ 1, at);
    const end = next < 0 ? bytes.length : next;
    runs.push(end - at);
    at = end;
  }
  return Uint32Array.from(runs);
}

export function unpack(runs) {
  const bytes = new Uint8Array(runs.reduce((sum, run) => sum + run, 0));
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2) bytes.fill(1, at, at + run);
    at += run;
  });
  return bytes;
}

// A mask in small: marked where any of the `factor` × `factor` pixels is.
export function shrink(bytes, width, height, factor) {
  const [w, h] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  if (factor === 1) return { bytes, width: w, height: h };
  const small = new Uint8Array(w * h);
  for (let i = bytes.indexOf(1), next; i >= 0; i = bytes.indexOf(1, next)) {
    const y = Math.floor(i / width);
    const x = Math.floor((i - y * width) / factor);
    small[Math.floor(y / factor) * w + x] = 1;
    next = Math.min(y * width + (x + 1) * factor, (y + 1) * width);
  }
  return { bytes: small, width: w, height: h };
}

// The squared Euclidean distance of every pixel to the nearest marked one (Felzenszwalb and Huttenlocher, 2012).
export function squaredDistances(marked, width, height) {
  const field = new Float32Array(marked.length);
  for (let x = 0; x < width; x++) { // along columns it is a count of steps
    let steps = Infinity;
    for (let y = 0; y < height; y++) field[y * width + x] = steps = marked[y * width + x] ? 0 : steps + 1;
    for (let y = height - 1, back = Infinity; y >= 0; y--) {
      back = marked[y * width + x] ? 0 : back + 1;
      field[y * width + x] = Math.min(field[y * width + x], back) ** 2;
    }
  }
  const vertex = new Int32Array(width);
  const border = new Float32Array(width + 1);
  const row = new Float32Array(width);
  for (let y = 0; y < height; y++) { // along rows it is the lowest of parabolas
    const line = field.subarray(y * width, (y + 1) * width);
    let top = -1;
    for (let x = 0; x < width; x++) {
      if (line[x] === Infinity) continue;
      let cut = -Infinity;
      while (top >= 0) {
        const v = vertex[top];
        cut = (line[x] + x * x - line[v] - v * v) / (2 * (x - v));
        if (cut > border[top]) break;
        top--;
      }
      vertex[++top] = x;
      border[top] = top ? cut : -Infinity;
    }
    if (top < 0) continue; // nothing is marked in any of its columns
    border[top + 1] = Infinity;
    for (let x = 0, i = 0; x < width; x++) {
      while (border[i + 1] < x) i++;
      row[x] = (x - vertex[i]) ** 2 + line[vertex[i]];
    }
    line.set(row);
  }
  return field;
}
