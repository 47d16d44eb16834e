// Pictures of one size side by side, zoomed and moved together: what is seen of one is seen of all.
import { $, make } from "./dom.js";
import { Viewport } from "./viewport.js";

const GAP = 20; // CSS pixels between pictures
const CAPTION = 96; // below a picture, with the gap to the next row
const LOW = 160; // no picture is made lower, so that all are seen at once
const NARROW = 560; // a room with one column
const KEYS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };

export class Lenses {
  lenses = []; // {frame, image, key}: what the server calls a picture that it has at full size
  viewport = new Viewport(devicePixelRatio, 0);

  // `full` makes of a picture's key the address at which it is seen at full size.
  constructor(full) {
    this.full = full;
    this.viewport.onchange = () => this.draw();
    $("lens-fit").onclick = () => this.viewport.fit();
    $("lens-actual").onclick = () => this.viewport.zoomTo(this.viewport.actual);
    $("lens-closer").onclick = () => this.viewport.zoomBy(1.5);
    $("lens-farther").onclick = () => this.viewport.zoomBy(1 / 1.5);
    const observer = new ResizeObserver(() => this.resize());
    for (const name of ["results", "stage"]) observer.observe($(name));
  }

  // Other pictures, so many of this size, are to come.
  clear(size, count) {
    this.lenses = [];
    this.count = count;
    if (size.some((side, i) => side !== this.viewport.size[i])) this.viewport.open(size);
  }

  frame(image, key) {
    const frame = make("div", { className: "lens", tabIndex: 0, role: "application" }, image);
    frame.setAttribute("aria-label", `${image.alt}: zoom with + and −, move with the arrow keys`);
    frame.style.aspectRatio = this.viewport.size.join(" / ");
    const fingers = new Map();
    const at = (event) => [event.clientX, event.clientY].map((value, i) => value - frame.getBoundingClientRect()[i ? "top" : "left"]);
    frame.onwheel = (event) => {
      event.preventDefault();
      this.viewport.zoomBy(Math.exp(-Math.max(-240, Math.min(240, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.002)), at(event));
    };
    frame.onpointerdown = (event) => {
      frame.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
    };
    frame.onpointermove = (event) => {
      const from = fingers.get(event.pointerId);
      if (!from) return;
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const to = at(event);
      fingers.set(event.pointerId, to);
      if (other) this.viewport.pinch([from, other], [to, other]);
      else this.viewport.pan(to[0] - from[0], to[1] - from[1]);
    };
    frame.onpointerup = frame.onpointercancel = (event) => fingers.delete(event.pointerId);
    frame.ondblclick = (event) => (this.viewport.fitted ? this.viewport.zoomTo(this.viewport.actual, at(event)) : this.viewport.fit());
    frame.onkeydown = (event) => this.key(event);
    this.lenses.push({ frame, image, key });
    image.onload = () => this.resize();
    return frame;
  }

  key(event) {
    const { viewport } = this;
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) viewport.zoomBy(KEYS[event.key]);
    else if (event.key in moves) viewport.pan(...moves[event.key]);
    else if (event.key === "0") viewport.fit();
    else if (event.key === "1") viewport.zoomTo(viewport.actual);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  resize() {
    const [first] = this.lenses;
    if (!first?.frame.clientWidth) return;
    const room = [$("grid").clientWidth, $("stage").clientHeight - 2 * $("grid").offsetTop - $("results").offsetTop];
    $("results").style.gridTemplateColumns = columns(this.count, this.viewport.size, room);
    this.viewport.resize([first.frame.clientWidth, first.frame.clientHeight]);
  }

  draw() {
    const { size, scale, corner, percent, actual, whole } = this.viewport;
    for (const lens of this.lenses) {
      const style = { width: `${size[0] * scale}px`, height: `${size[1] * scale}px`, translate: corner.map((side) => `${side}px`).join(" ") };
      Object.assign(lens.image.style, style, { imageRendering: scale > 3 * actual ? "pixelated" : "auto" });
      if (lens.key && !lens.asked && size[0] * scale * devicePixelRatio > 1.2 * lens.image.naturalWidth && lens.image.naturalWidth < size[0]) {
        lens.asked = true; // the preview is not enough
        this.full(lens.key).then((src) => (lens.image.src = src), () => (lens.asked = false));
      }
    }
    $("lens-percent").textContent = `${percent} %`;
    $("lens-fit").setAttribute("aria-pressed", scale === whole);
  }
}

// The columns of a grid in which so many pictures of a size are seen largest without scrolling, as CSS wants them.
export function columns(count, [width, height], room) {
  if (room[0] < NARROW) return "minmax(0, 1fr)";
  const choices = Array.from({ length: count }, (_, i) => {
    const wide = (room[0] - GAP * i) / (i + 1);
    const high = Math.max(LOW, room[1] / Math.ceil(count / (i + 1)) - CAPTION);
    return { across: i + 1, shown: Math.floor(Math.min(wide, (high * width) / height)) };
  });
  const { across, shown } = choices.reduce((best, one) => (one.shown > best.shown ? one : best));
  return `repeat(${across}, ${shown}px)`;
}
