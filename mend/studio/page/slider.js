// Before and after, one over the other: the whole picture, or a part of it at its actual size, which is moved by hand.

import { $ } from "./dom.js";

export class Slider {
  actual = false; // a pixel of the picture is one of the screen
  corner = [0, 0]; // what is seen of the picture at its actual size begins here

  constructor() {
    this.images = [$("before"), $("after")];
    $("split").oninput = () => this.split(+$("split").value);
    const box = () => $("slider").getBoundingClientRect();
    dragged($("handle"), (event) => this.split((100 * (event.clientX - box().left)) / box().width));
    dragged($("pan"), (event) => this.move(-event.movementX, -event.movementY));
    $("pan").onkeydown = (event) => {
      const moves = { ArrowLeft: [-80, 0], ArrowRight: [80, 0], ArrowUp: [0, -80], ArrowDown: [0, 80] };
      if (!(event.key in moves)) return;
      event.preventDefault();
      this.move(...moves[event.key]);
    };
  }

  // Two addresses of pictures of the same size, and the centre of what differs, in shares of that size.
  async show(before, after, { centre, input }) {
    this.addresses = [before, after];
    this.size = [input.width, input.height];
    this.centre = centre;
    this.actual = false;
    await this.load("preview");
    this.split(50);
  }

  async toggle() {
    const actual = !this.actual;
    await this.load(actual ? "full" : "preview");
    this.actual = actual;
    const room = $("stage").getBoundingClientRect();
    this.corner = this.size.map((side, i) => (this.centre[i] * side) / devicePixelRatio - [room.width, room.height][i] / 2);
  }

  async load(part) {
    const sources = this.addresses.map((address) => `${address}/${part}`);
    await Promise.all(sources.map((src) => Object.assign(new Image(), { src }).decode())).catch(() => {
      throw new Error("The picture cannot be shown. Open it again.");
    });
    this.images.forEach((image, i) => (image.src = sources[i]));
    await Promise.all(this.images.map((image) => image.decode())).catch(() => {});
  }

  // In the room there is: the whole, small ones up to twice their size, or a part.
  fit(wide, high) {
    const { naturalWidth: w, naturalHeight: h } = $("after");
    if (!w) return;
    const factor = this.actual ? 1 / devicePixelRatio : Math.min(wide / w, high / h, 2);
    const [width, height] = [w * factor, h * factor];
    Object.assign($("slider").style, { width: `${Math.min(width, wide)}px`, height: `${Math.min(height, high)}px` });
    for (const image of this.images) Object.assign(image.style, { width: `${width}px`, height: `${height}px` });
    $("slider").classList.toggle("actual", this.actual);
    $("pan").hidden = !this.actual;
    $("actual").hidden = !this.actual && this.size[0] <= 1.2 * width * devicePixelRatio;
    $("actual").setAttribute("aria-pressed", this.actual);
    this.limit = [Math.max(0, width - wide), Math.max(0, height - high)];
    this.move(0, 0);
  }

  move(x, y) {
    this.corner = [x, y].map((step, i) => Math.min(Math.max(this.corner[i] + step, 0), this.limit[i]));
    const moved = this.actual ? this.corner.map((side) => `${-side}px`).join(" ") : "none";
    for (const image of this.images) image.style.translate = moved;
  }

  split(percent) {
    $("split").value = percent;
    $("slider").style.setProperty("--split", `${$("split").value}%`);
  }
}

// Call `move` with every event of one finger, or of the mouse, that drags an element.
function dragged(element, move) {
  element.onpointerdown = (event) => event.isPrimary && !event.button && element.setPointerCapture(event.pointerId);
  element.onpointermove = (event) => element.hasPointerCapture(event.pointerId) && move(event);
}
