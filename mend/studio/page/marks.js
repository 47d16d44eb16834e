// What is marked on the picture: painted, erased, outlined; and how it is seen. The mask is as large as the picture, up to what
// every browser draws on.
import { pack, shrink, squaredDistances, unpack } from "./mask.js";

const MARKED = "rgb(226, 62, 87)";
// Four bytes of a pixel in one number, as memory has them from low to high: red, green, blue, alpha.
const [RED, ORANGE, WHITE, BLACK, CLEAR] = [0xff573ee2, 0xff809eff, 0xffffffff, 0xff000000, 0];
const MOST = 16_700_000; // pixels: phones draw on no larger canvas
const GROWN = 1600; // longest side on which growing is shown, which is no part of the mask

export class Marks {
  tool = "brush";
  size = 40; // of the brush, in CSS pixels: who zooms in has a finer one
  grow = 0; // in pixels of the picture
  bytes = new Uint8Array(0); // the mask
  count = 0; // of its pixels that are marked
  onchange = () => {};
  onstep = () => {}; // {undo, redo} of what was done

  // `overlay` covers the room in which `viewport` shows the picture.
  constructor(overlay, viewport) {
    Object.assign(this, { overlay, viewport });
    this.canvas = document.createElement("canvas"); // the mask in the colour of marks
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.view = overlay.getContext("2d", { willReadFrequently: true }); // as the mask: neither is sent to a graphics card
  }

  // A picture of this size opens, with nothing marked.
  open(width, height) {
    const factor = Math.min(1, Math.sqrt(MOST / (width * height)));
    this.width = this.canvas.width = Math.max(1, Math.floor(width * factor));
    this.height = this.canvas.height = Math.max(1, Math.floor(height * factor));
    this.scale = width / this.width; // pixels of the picture in one of the mask
    this.bytes = new Uint8Array(this.width * this.height);
    this.stroke = null;
    this.#changed(0);
  }

  get empty() {
    return this.count === 0;
  }

  // --- Painting: points are of the picture ---

  begin(point) {
    this.stroke = { points: [], width: this.size / this.viewport.scale / this.scale };
    this.extend(point);
  }

  extend(point) {
    const { points } = this.stroke;
    points.push(point.map((value) => value / this.scale));
    this.#seen(points.slice(-2));
  }

  // The line is drawn on the mask as a whole: where pieces of it met, its soft edge would be darker, and the mark jagged.
  end() {
    const { points, width } = this.stroke ?? { points: [] };
    const box = points.length && this.#within(around(points, width / 2 + 2));
    if (box) this.#line(this.pen, points);
    this.stroke = null;
    if (box) return this.#commit(box);
    this.draw();
    return false;
  }

  // The stroke was none: a second finger came.
  cancel() {
    this.stroke = null;
    this.draw();
  }

  // A part of the stroke, on the overlay.
  #seen(points) {
    this.view.save();
    this.view.setTransform(...this.#placing());
    this.view.beginPath();
    this.view.rect(...this.#all);
    this.view.clip();
    this.#line(this.view, points);
    this.view.restore();
  }

  #line(pen, points) {
    pen.globalCompositeOperation = this.tool === "eraser" ? "destination-out" : "source-over";
    pen.strokeStyle = MARKED;
    pen.lineWidth = this.stroke.width;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(points[0][0] + 0.01, points[0][1]); // a line without a length would not be drawn
    for (const point of points) pen.lineTo(...point);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
  }

  // --- More than a stroke ---

  // Corners in shares of the width and the height.
  outline(corners) {
    this.pen.fillStyle = MARKED;
    this.pen.beginPath();
    for (const [x, y] of corners) this.pen.lineTo(x * this.width, y * this.height);
    this.pen.fill();
    this.#commit(this.#all);
  }

  // A mask image, white on black, is marked besides what is; or, in place of `base`, what was marked before.
  async add(url, base = this.bytes) {
    const image = Object.assign(new Image(), { src: url });
    await image.decode();
    const sheet = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const pen = sheet.getContext("2d");
    pen.drawImage(image, 0, 0, sheet.width, sheet.height);
    const { data } = pen.getImageData(0, 0, sheet.width, sheet.height);
    const bytes = base.slice();
    for (let i = 0; i < bytes.length; i++) bytes[i] ||= data[4 * i] >= 128 ? 1 : 0;
    this.#set(bytes);
  }

  clear() {
    if (!this.empty) this.#set(new Uint8Array(this.bytes.length));
  }

  // The mask in a few numbers, to be marked again on a picture of the same size, null for nothing; that is no step.
  get packed() {
    return pack(this.bytes);
  }

  set packed(runs) {
    this.#write(this.#all, runs ? unpack(runs) : new Uint8Array(this.bytes.length));
    this.#changed();
  }

  #set(bytes) {
    this.#write(this.#all, bytes, false);
    this.#commit(this.#all);
  }

  // --- The mask and its canvas ---

  get #all() {
    return [0, 0, this.width, this.height];
  }

  #within(box) {
    const [left, top] = [Math.max(0, Math.floor(box[0])), Math.max(0, Math.floor(box[1]))];
    const [right, bottom] = [Math.min(this.width, Math.ceil(box[2])), Math.min(this.height, Math.ceil(box[3]))];
    return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
  }

  // A part of the mask.
  #read([x, y, width, height]) {
    if (width === this.width) return this.bytes.slice(y * width, (y + height) * width);
    const part = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const at = (y + row) * this.width + x;
      part.set(this.bytes.subarray(at, at + width), row * width);
    }
    return part;
  }

  #write([x, y, width, height], part, kept = true) {
    this.pen.putImageData(image(width, height, (i) => (part[i] ? RED : CLEAR)), x, y);
    if (!kept) return;
    for (let row = 0; row < height; row++) this.bytes.set(part.subarray(row * width, (row + 1) * width), (y + row) * this.width + x);
  }

  // What the canvas shows in a box is marked from now on, and can be undone. Whether anything changed.
  #commit(box) {
    const { data } = this.pen.getImageData(...box);
    const before = this.#read(box);
    const after = new Uint8Array(before.length);
    let same = true;
    for (let i = 0; i < after.length; i++) {
      after[i] = data[4 * i + 3] >= 128 ? 1 : 0;
      same &&= after[i] === before[i];
    }
    this.#write(box, after);
    if (same) {
      this.draw();
      return false;
    }
    const [from, to] = [pack(before), pack(after)];
    const put = (runs) => {
      this.#write(box, unpack(runs));
      this.#changed();
    };
    this.onstep({ undo: () => put(from), redo: () => put(to) });
    this.#changed();
    return true;
  }

  #changed(count) {
    this.count = count ?? sum(this.bytes);
    this.squares = null;
    this.draw();
    this.onchange();
  }

  // --- Seeing ---

  // From pixels of the mask to those of the overlay.
  #placing() {
    const density = this.overlay.width / (this.viewport.room[0] || 1);
    const [x, y] = this.viewport.corner.map((value) => value * density);
    const scale = this.viewport.scale * this.scale * density;
    return [scale, 0, 0, scale, x, y];
  }

  draw() {
    const { view, overlay } = this;
    view.setTransform(1, 0, 0, 1, 0, 0);
    view.clearRect(0, 0, overlay.width, overlay.height);
    if (this.empty && !this.stroke) return;
    view.setTransform(...this.#placing());
    view.imageSmoothingEnabled = this.viewport.percent < 200;
    if (this.grow) view.drawImage(this.#grown(), 0, 0, this.width, this.height);
    view.drawImage(this.canvas, 0, 0);
    if (this.stroke) this.#seen(this.stroke.points);
    view.setTransform(1, 0, 0, 1, 0, 0);
  }

  // What growing adds, seen under the marks.
  #grown() {
    const factor = Math.ceil(Math.max(this.width, this.height) / GROWN);
    if (!this.squares) {
      this.small = shrink(this.bytes, this.width, this.height, factor);
      this.squares = squaredDistances(this.small.bytes, this.small.width, this.small.height);
      this.sheet = Object.assign(document.createElement("canvas"), { width: this.small.width, height: this.small.height });
      this.drawn = null;
    }
    if (this.drawn !== this.grow) {
      const reach = (this.grow / this.scale / factor) ** 2;
      const { width, height } = this.small;
      this.sheet.getContext("2d").putImageData(image(width, height, (i) => (this.squares[i] <= reach ? ORANGE : CLEAR)), 0, 0);
      this.drawn = this.grow;
    }
    return this.sheet;
  }

  // --- Going out ---

  // The mask as an image, white on black.
  png() {
    const sheet = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    sheet.getContext("2d").putImageData(image(this.width, this.height, (i) => (this.bytes[i] ? WHITE : BLACK)), 0, 0);
    return sheet.toDataURL();
  }

  // The picture with its marks, for a comparison.
  shown(photo) {
    const factor = Math.min(1, GROWN / Math.max(this.width, this.height));
    const [width, height] = [Math.round(this.width * factor), Math.round(this.height * factor)];
    const sheet = Object.assign(document.createElement("canvas"), { width, height });
    const pen = sheet.getContext("2d");
    pen.drawImage(photo, 0, 0, width, height);
    pen.globalAlpha = +getComputedStyle(this.overlay).opacity;
    if (this.grow) pen.drawImage(this.#grown(), 0, 0, width, height);
    pen.drawImage(this.canvas, 0, 0, width, height);
    return sheet.toDataURL("image/jpeg", 0.9);
  }
}

// The box [left, top, right, bottom] around points, with a margin.
function around(points, margin) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x - margin);
    box[1] = Math.min(box[1], y - margin);
    box[2] = Math.max(box[2], x + margin);
    box[3] = Math.max(box[3], y + margin);
  }
  return box;
}

function sum(bytes) {
  let total = 0;
  for (let i = 0; i < bytes.length; i++) total += bytes[i];
  return total;
}

// An image each of whose pixels has the colour of its index.
function image(width, height, colour) {
  const made = new ImageData(width, height);
  const pixels = new Uint32Array(made.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  return made;
}
