// The picture as it is seen: as large as one wants, with its marks over it; or before and after, one over the other.
import { $ } from "./dom.js";

const BELOW = 32; // CSS pixels of the room that its buttons take, besides a margin
const LOW = 320; // a room of so many has none to spare

export class Easel {
  comparing = false; // before and after
  split = 0.5; // how much of what is seen is before

  constructor(viewport, marks) {
    Object.assign(this, { viewport, marks });
    viewport.onchange = () => this.place();
    new ResizeObserver(() => this.measure()).observe($("easel"));
    $("fit").onclick = () => viewport.fit();
    $("actual").onclick = () => viewport.zoomTo(viewport.actual);
    $("closer").onclick = () => viewport.zoomBy(1.5);
    $("farther").onclick = () => viewport.zoomBy(1 / 1.5);
    $("split").oninput = () => this.place((this.split = $("split").value / 100));
    $("handle").onpointerdown = (event) => event.button || $("handle").setPointerCapture(event.pointerId);
    $("handle").onpointermove = (event) => {
      if (!$("handle").hasPointerCapture(event.pointerId)) return;
      const [left, , right] = this.seen();
      this.split = Math.min(1, Math.max(0, (event.clientX - $("easel").getBoundingClientRect().left - left) / (right - left)));
      this.place();
    };
    const hold = (on) => (event) => {
      if (event.type.startsWith("key") && ![" ", "Enter"].includes(event.key)) return;
      this.hold(on);
    };
    for (const name of ["pointerdown", "keydown"]) $("hold").addEventListener(name, hold(true));
    for (const name of ["pointerup", "pointercancel", "pointerleave", "keyup", "blur"]) $("hold").addEventListener(name, hold(false));
    $("hold").oncontextmenu = (event) => event.preventDefault(); // which a long press asks for
    $("compare-original").onclick = () => this.compare(!this.comparing);
  }

  // Addresses of a picture, and of what it was at first, both of this size.
  async show(picture, original, size) {
    for (const [image, src] of [[$("photo"), picture], [$("before"), original]]) {
      if (image.getAttribute("src") === src) continue;
      image.src = src;
      await image.decode().catch(() => {
        throw new Error("The browser cannot show this picture. Open it again.");
      });
    }
    $("easel").classList.remove("glimpse");
    const [width, height] = this.viewport.size;
    if (width !== size[0] || height !== size[1]) this.viewport.open(size); // else one goes on where one looked
    this.compare(this.comparing && picture !== original);
  }

  // An image to see until the result is there, which replaces it.
  async glimpse(src) {
    const image = Object.assign(new Image(), { src });
    const see = () => {
      $("photo").src = src;
      $("easel").classList.add("glimpse");
    };
    await image.decode().then(see, () => {}); // what cannot be shown yet is soon there
  }

  compare(on) {
    this.comparing = on;
    $("easel").classList.toggle("comparing", on);
    $("compare-original").setAttribute("aria-pressed", on);
    this.place();
  }

  // The original, as long as something is held.
  hold(on) {
    $("easel").classList.toggle("holding", on);
    this.place();
  }

  measure() {
    const room = [$("easel").clientWidth, $("easel").clientHeight];
    if (!room[0] || !room[1]) return;
    const [width, height] = room.map((side) => Math.round(side * devicePixelRatio));
    if ($("overlay").width !== width || $("overlay").height !== height) Object.assign($("overlay"), { width, height });
    this.viewport.density = devicePixelRatio;
    this.viewport.resize(room, room[1] > LOW ? BELOW : 0);
  }

  // The box of what is seen of the picture, in the room: [left, top, right, bottom].
  seen() {
    const { room, size, corner } = this.viewport;
    const end = this.viewport.toRoom(size);
    return [...corner.map((side) => Math.max(0, side)), ...end.map((side, i) => Math.min(room[i], side))];
  }

  place() {
    const { viewport } = this;
    const [x, y] = viewport.corner;
    const [width, height] = viewport.size.map((side) => `${side * viewport.scale}px`);
    for (const image of [$("photo"), $("before")]) Object.assign(image.style, { width, height, translate: `${x}px ${y}px` });
    $("easel").classList.toggle("pixels", viewport.percent >= 400);
    const [left, top, right, bottom] = this.seen();
    const places = { split: left + (right - left) * this.split, left, top, right: viewport.room[0] - right, bottom: viewport.room[1] - bottom };
    for (const [name, value] of Object.entries(places)) $("easel").style.setProperty(`--${name}`, `${value}px`);
    $("split").value = 100 * this.split;
    $("percent").textContent = `${viewport.percent} %`;
    $("fit").setAttribute("aria-pressed", viewport.fitted);
    this.marks.draw();
  }
}
