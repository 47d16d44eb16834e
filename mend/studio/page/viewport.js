// Which part of a picture is seen, and how large. Points are pairs: of the picture in its pixels, of the room in CSS pixels.
//
// Own code, since the libraries there are move one element and take the first finger for it, which here paints.

const CLOSEST = 16; // pixels of the screen for one of the picture
const MARGIN = 24; // of the room, around the whole picture

export class Viewport {
  size = [1, 1]; // of the picture
  room = [1, 1];
  free = [1, 1]; // the room without what lies at its lower edge
  scale = 1; // CSS pixels for one pixel of the picture
  corner = [0, 0]; // where the picture's begins in the room
  margin = MARGIN;
  fitted = true; // the whole picture is seen, and stays so when the room changes
  onchange = () => {};

  // `density` is the number of pixels of the screen in a CSS pixel, `spare` the margin where there is room.
  constructor(density = 1, spare = MARGIN) {
    Object.assign(this, { density, spare });
  }

  open(size) {
    this.size = size;
    this.fit();
  }

  resize(room, below = 0) {
    const middle = this.toPicture(this.room.map((side) => side / 2));
    [this.room, this.free] = [room, [room[0], room[1] - below]];
    this.margin = Math.min(this.spare, ...room.map((side) => side / 8));
    if (this.fitted) return this.fit();
    this.#place(middle, room.map((side) => side / 2), this.scale);
  }

  // The scale at which the whole picture is seen: small ones up to twice their size.
  get whole() {
    return Math.min(2, ...this.size.map((side, i) => Math.max(1, this.free[i] - 2 * this.margin) / side));
  }

  // The scale at which a pixel of the picture is one of the screen.
  get actual() {
    return 1 / this.density;
  }

  get percent() {
    return Math.round(100 * this.scale * this.density);
  }

  fit() {
    this.#place(this.size.map((side) => side / 2), this.free.map((side) => side / 2), this.whole);
    this.fitted = true;
  }

  // What is at a point of the room stays there; without one, what is in the middle.
  zoomTo(scale, at = this.room.map((side) => side / 2)) {
    this.#place(this.toPicture(at), at, scale);
  }

  zoomBy(factor, at) {
    this.zoomTo(this.scale * factor, at);
  }

  // Two fingers: what was under them stays under them.
  pinch([a, b], [c, d]) {
    const middle = (p, q) => p.map((value, i) => (value + q[i]) / 2);
    const far = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]) || 1;
    this.#place(this.toPicture(middle(a, b)), middle(c, d), (this.scale * far(c, d)) / far(a, b));
  }

  pan(x, y) {
    if (!this.fitted) this.#place([0, 0], [this.corner[0] + x, this.corner[1] + y], this.scale);
  }

  toPicture(point) {
    return point.map((value, i) => (value - this.corner[i]) / this.scale);
  }

  toRoom(point) {
    return point.map((value, i) => value * this.scale + this.corner[i]);
  }

  // A point of the picture comes to one of the room, as far as the picture then fills the room.
  #place(point, at, scale) {
    this.scale = Math.min(Math.max(scale, Math.min(this.whole, this.actual)), Math.max(this.whole, CLOSEST * this.actual));
    this.fitted = false;
    this.corner = at.map((value, i) => {
      const side = this.size[i] * this.scale;
      const spare = this.free[i] - side;
      const wanted = value - point[i] * this.scale;
      return spare >= 2 * this.margin ? spare / 2 : Math.min(this.margin, Math.max(spare - this.margin, wanted));
    });
    this.onchange();
  }
}
