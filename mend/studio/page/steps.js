// What was done, to be undone and done again: strokes and fillings alike.

export class Steps {
  done = [];
  undone = [];

  constructor(most = 100) {
    this.most = most;
  }

  // A step {undo, redo} that has just been done: two functions, which may return a promise.
  add(step) {
    this.done.push(step);
    if (this.done.length > this.most) this.done.shift();
    this.undone = [];
  }

  undo() {
    return this.#move(this.done, this.undone, "undo");
  }

  redo() {
    return this.#move(this.undone, this.done, "redo");
  }

  // A step that fails stays where it was.
  async #move(from, to, way) {
    const step = from.at(-1);
    if (!step || this.moving) return false;
    this.moving = true;
    try {
      await step[way]();
    } finally {
      this.moving = false;
    }
    if (from.at(-1) === step) to.push(from.pop());
    return true;
  }
}
