// What is marked on the picture: painted, erased, selected; grown; undone. Sizes are in pixels of the picture.

const MARKED = "rgb(226, 62, 87)";
// Four bytes of a pixel in one number, as memory has them from low to high: red, green, blue, alpha.
const [RED, ORANGE, WHITE, BLACK, CLEAR] = [0xff573ee2, 0xff809eff, 0xffffffff, 0xff000000, 0];
const STEPS = 30;

export class Marks {
  tool = "brush";
  size = 40;
  grow = 0;
  steps = []; // the marks as they were, one byte a pixel
  empty = true;
  onchange = () => {};
  onselect = () => {};

  constructor(overlay, cursor) {
    Object.assign(this, { overlay, cursor });
    this.canvas = document.createElement("canvas"); // white where marked
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.view = overlay.getContext("2d");
    this.at = null; // where the cursor is, in pixels of the preview
    overlay.onpointerdown = (event) => this.down(event);
    overlay.onpointermove = (event) => this.move(event);
    overlay.onpointerup = overlay.onpointercancel = (event) => event.isPrimary && this.up();
    overlay.onpointerleave = () => this.stroke || (this.cursor.style.display = "none");
    overlay.onblur = () => (this.cursor.style.display = "none");
    overlay.onkeydown = (event) => this.key(event);
  }

  // A preview of this size opens, each of whose pixels is `scale` pixels of the picture.
  open(width, height, scale) {
    this.canvas.width = this.overlay.width = width;
    this.canvas.height = this.overlay.height = height;
    this.scale = scale;
    this.steps = [];
    this.at = [width / 2, height / 2];
    this.changed();
  }

  // --- Painting ---

  point(event) {
    const box = this.overlay.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.overlay.width, ((event.clientY - box.top) / box.height) * this.overlay.height];
  }

  down(event) {
    if (event.button || !event.isPrimary) return; // a second finger paints nothing
    this.at = this.point(event);
    if (this.tool === "object") return this.onselect(this.at[0] / this.overlay.width, this.at[1] / this.overlay.height);
    this.overlay.setPointerCapture(event.pointerId);
    this.keep();
    this.stroke = true;
    this.line(this.at, this.at);
  }

  move(event) {
    if (!event.isPrimary) return;
    this.show(this.point(event), true);
    if (!this.stroke) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const to = this.point(one);
      this.line(this.at, to);
      this.at = to;
    }
  }

  up() {
    if (!this.stroke) return;
    this.stroke = false;
    this.changed();
  }

  key(event) {
    const step = (this.size / this.scale) * (event.shiftKey ? 0.1 : 0.5);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const limit = [this.overlay.width - 1, this.overlay.height - 1];
      this.at = this.at.map((value, i) => Math.min(Math.max(value + moves[event.key][i], 0), limit[i]));
      this.show(this.at, false);
    } else if (event.key === " ") {
      if (this.tool === "object") this.onselect(this.at[0] / this.overlay.width, this.at[1] / this.overlay.height);
      else {
        this.keep();
        this.line(this.at, this.at);
        this.changed();
      }
    } else return;
    event.preventDefault();
  }

  line(from, to) {
    for (const [pen, colour] of [[this.pen, "#fff"], [this.view, MARKED]]) {
      pen.globalCompositeOperation = this.tool === "eraser" ? "destination-out" : "source-over";
      pen.strokeStyle = colour;
      pen.lineWidth = this.size / this.scale;
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(to[0] + 0.01, to[1]); // a line without a length would not be drawn
      pen.stroke();
      pen.globalCompositeOperation = "source-over";
    }
  }

  // Corners in shares of the width and the height.
  outline(corners) {
    this.keep();
    this.pen.fillStyle = "#fff";
    this.pen.beginPath();
    for (const [x, y] of corners) this.pen.lineTo(x * this.canvas.width, y * this.canvas.height);
    this.pen.fill();
    this.changed();
  }

  // A mask, white on black, is marked; or, where `from` is marked already, no longer.
  async add(url, from) {
    const image = Object.assign(new Image(), { src: url });
    await image.decode();
    this.keep();
    const sheet = Object.assign(document.createElement("canvas"), { width: this.canvas.width, height: this.canvas.height });
    const pen = sheet.getContext("2d");
    pen.drawImage(image, 0, 0, sheet.width, sheet.height);
    const data = pen.getImageData(0, 0, sheet.width, sheet.height);
    for (let i = 0; i < data.data.length; i += 4) data.data[i + 3] = data.data[i];
    pen.putImageData(data, 0, 0);
    const there = from && this.marked[Math.floor(from.y * sheet.height) * sheet.width + Math.floor(from.x * sheet.width)];
    this.pen.globalCompositeOperation = there ? "destination-out" : "source-over";
    this.pen.drawImage(sheet, 0, 0);
    this.pen.globalCompositeOperation = "source-over";
    this.changed();
  }

  // --- Steps ---

  bytes() {
    const { data } = this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    const bytes = new Uint8Array(data.length / 4);
    for (let i = 0; i < bytes.length; i++) bytes[i] = data[4 * i + 3] >= 128 ? 1 : 0;
    return bytes;
  }

  keep() {
    this.steps.push(this.marked);
    if (this.steps.length > STEPS) this.steps.shift();
  }

  put(bytes) {
    this.pen.putImageData(image(this.canvas, (i) => (bytes[i] ? WHITE : CLEAR)), 0, 0);
    this.changed();
  }

  undo() {
    if (this.steps.length) this.put(this.steps.pop());
  }

  // Marks as they once were, in place of those of now.
  set(bytes) {
    this.keep();
    this.put(bytes);
  }

  clear() {
    if (!this.empty) this.set(new Uint8Array(this.canvas.width * this.canvas.height));
  }

  // --- Seeing ---

  changed() {
    const bytes = this.bytes();
    this.empty = !bytes.includes(1);
    this.squares = null;
    this.marked = bytes;
    this.draw();
    this.onchange();
  }

  draw() {
    if (!this.marked) return;
    const { width, height } = this.canvas;
    const reach = (this.grow / this.scale) ** 2;
    if (reach && !this.squares && !this.empty) this.squares = squaredDistances(this.marked, width, height);
    const grown = (i) => reach && !this.empty && this.squares[i] <= reach;
    this.view.putImageData(image(this.canvas, (i) => (this.marked[i] ? RED : grown(i) ? ORANGE : CLEAR)), 0, 0);
  }

  show([x, y], pointer) {
    const box = this.overlay.getBoundingClientRect();
    const side = (this.size / this.scale) * (box.width / this.overlay.width);
    this.cursor.classList.toggle("pointer", pointer);
    Object.assign(this.cursor.style, {
      display: "block", width: `${side}px`, height: `${side}px`,
      left: `${(x / this.overlay.width) * box.width}px`, top: `${(y / this.overlay.height) * box.height}px`,
    });
  }

  // --- Going out ---

  // The marks as a mask, white on black.
  png() {
    const sheet = Object.assign(document.createElement("canvas"), { width: this.canvas.width, height: this.canvas.height });
    const pen = sheet.getContext("2d");
    pen.putImageData(image(sheet, (i) => (this.marked[i] ? WHITE : BLACK)), 0, 0);
    return sheet.toDataURL();
  }

  // The picture with its marks, for a comparison.
  shown(photo) {
    const sheet = Object.assign(document.createElement("canvas"), { width: this.canvas.width, height: this.canvas.height });
    const pen = sheet.getContext("2d");
    pen.drawImage(photo, 0, 0, sheet.width, sheet.height);
    pen.globalAlpha = +getComputedStyle(this.overlay).opacity;
    pen.drawImage(this.overlay, 0, 0);
    return sheet.toDataURL("image/jpeg", 0.9);
  }
}

// An image of a canvas's size, each of whose pixels has the colour of its index.
function image({ width, height }, colour) {
  const made = new ImageData(width, height);
  const pixels = new Uint32Array(made.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  return made;
}

// The squared Euclidean distance of every pixel to the nearest marked one (Felzenszwalb and Huttenlocher, 2012).
function squaredDistances(marked, width, height) {
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
