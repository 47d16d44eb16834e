// Pointing at an object: a click, or a box that is drawn around it.

const CLICK = 6; // CSS pixels: what moves less is a click

export class Pointing {
  ends = null; // of what is being drawn: two points of the picture

  // `box` is the element that shows it.
  constructor(box, viewport) {
    Object.assign(this, { box, viewport });
  }

  to(point) {
    this.ends = [this.ends?.[0] ?? point, point];
    const [a, b] = this.ends.map((one) => this.viewport.toRoom(one));
    const [left, top] = a.map((value, i) => Math.min(value, b[i]));
    const [width, height] = a.map((value, i) => Math.abs(value - b[i]));
    this.box.hidden = Math.max(width, height) < CLICK;
    Object.assign(this.box.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  }

  // What was pointed at, in shares of the picture: {point}, or {box} as left, top, right, bottom.
  end() {
    const [a, b] = this.ends.map((point) => point.map((value, i) => Math.min(1, Math.max(0, value / this.viewport.size[i]))));
    const drawn = !this.box.hidden;
    this.cancel();
    return drawn ? { box: [...a.map((value, i) => Math.min(value, b[i])), ...a.map((value, i) => Math.max(value, b[i]))] } : { point: b };
  }

  cancel() {
    this.ends = null;
    this.box.hidden = true;
  }
}
