// What hands do on the picture: one finger or the mouse paints; two fingers, the middle button, or the space key and the mouse
// move the picture; the wheel and two fingers zoom; the right button changes the size of the brush.

const PAINTS = 0;
const MIDDLE = 1;
const RIGHT = 2;

export class Gestures {
  point = null; // where the cursor is, in the room
  keyboard = false; // whether keys brought it there
  space = false; // is held

  // `acts` says what becomes of it: begin, extend, end and cancel a stroke, resize(by), show and hide the cursor; the `step` of
  // an arrow key; and whether a drag `moves` the picture now.
  constructor(element, viewport, acts) {
    Object.assign(this, { element, viewport, acts });
    this.pointers = new Map(); // the fingers, or the mouse, that are down: where they are
    this.mode = null; // "paint", "move", "size"
    const listen = (name, act) => element.addEventListener(name, act.bind(this), { passive: false });
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    for (const name of ["pointerup", "pointercancel"]) listen(name, this.up);
    listen("pointerleave", () => this.pointers.size || this.leave());
    listen("wheel", this.wheel);
    listen("contextmenu", (event) => event.preventDefault());
    listen("keydown", this.key);
    listen("blur", this.leave);
    listen("focus", () => this.pointers.size || this.byKeyboard());
    addEventListener("keydown", (event) => this.hold(event, true));
    addEventListener("keyup", (event) => this.hold(event, false));
    addEventListener("blur", () => this.hold({ key: " " }, false));
  }

  at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    this.element.setPointerCapture?.(event.pointerId);
    this.pointers.set(event.pointerId, (this.point = this.at(event)));
    this.keyboard = false;
    if (this.pointers.size === 2 && this.mode !== "move") {
      if (this.mode === "paint") this.acts.cancel();
      this.mode = "move"; // until every finger is up: two never paint
    }
    if (this.pointers.size > 1) return;
    if (event.button === MIDDLE || this.space || this.acts.moves()) this.mode = "move";
    else if (event.button === RIGHT) this.mode = "size";
    else if (event.button === PAINTS) {
      this.mode = "paint";
      this.acts.begin(this.viewport.toPicture(this.point));
    }
    if (event.button === MIDDLE) event.preventDefault(); // which would scroll
    this.element.classList.toggle("moving", this.mode === "move");
  }

  move(event) {
    const to = this.at(event);
    const from = this.pointers.get(event.pointerId);
    this.keyboard = false;
    if (!from) {
      this.point = to;
      this.acts.show();
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, to);
    if (this.mode !== "size") this.point = to;
    if (this.mode === "move" && others.length) this.viewport.pinch([from, others[0]], [to, others[0]]);
    else if (this.mode === "move") this.viewport.pan(to[0] - from[0], to[1] - from[1]);
    else if (this.mode === "size") this.acts.resize(to[0] - from[0]);
    else if (this.mode === "paint") {
      const passed = event.getCoalescedEvents?.() ?? [];
      for (const one of passed.length ? passed : [event]) this.acts.extend(this.viewport.toPicture(this.at(one)));
    }
    this.acts.show();
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.pointers.size) return;
    const { mode } = this;
    this.mode = null;
    this.element.classList.remove("moving");
    if (mode === "paint") event.type === "pointerup" ? this.acts.end(event) : this.acts.cancel();
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode ? 33 : 1; // a line in pixels
    const speed = event.ctrlKey ? 0.01 : 0.002; // a touch pad's pinch comes as a wheel with Ctrl, in small steps
    const turned = Math.max(-240, Math.min(240, event.deltaY * lines));
    this.viewport.zoomBy(Math.exp(-turned * speed), this.at(event));
    this.acts.show();
  }

  // --- Keys ---

  // The space key held, and the mouse moves the picture; pressed alone it paints where arrow keys brought the cursor.
  hold(event, down) {
    if (event.key !== " ") return;
    this.space = down && (document.activeElement === this.element || document.activeElement === document.body);
    this.element.classList.toggle("grab", this.space && !this.keyboard);
    if (this.space && !this.keyboard) event.preventDefault?.(); // which would scroll
  }

  byKeyboard() {
    this.keyboard = true;
    this.point ??= this.viewport.room.map((side) => side / 2);
    this.acts.show();
  }

  key(event) {
    const step = this.acts.step() * (event.shiftKey ? 0.1 : 0.5);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      this.byKeyboard();
      const wanted = this.point.map((value, i) => value + moves[event.key][i]);
      this.point = wanted.map((value, i) => Math.min(Math.max(value, 0), this.viewport.room[i] - 1));
      this.viewport.pan(...this.point.map((value, i) => value - wanted[i])); // at an edge the picture moves instead
      this.acts.show();
    } else if (event.key === " " && this.keyboard && !event.repeat && !this.acts.moves()) {
      const point = this.viewport.toPicture(this.point);
      this.acts.begin(point);
      this.acts.end(event);
    } else return;
    event.preventDefault();
  }

  leave() {
    if (!this.pointers.size) this.acts.hide();
  }
}
