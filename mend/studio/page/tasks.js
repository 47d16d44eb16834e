// One thing at a time, with what is left of it shown, and a way to stop it; what goes wrong is one sentence.
import { $ } from "./dom.js";
import { sentence } from "./request.js";

const BUSY = "One thing at a time: wait until this is done, or cancel it.";
const SHOWN = 0.3; // seconds before a task shows that it takes long

export class Tasks {
  running = null; // the AbortController of the task at work

  constructor(onchange) {
    this.onchange = onchange;
    $("cancel").onclick = () => this.running?.abort();
  }

  say(error) {
    $("error").textContent = sentence(error.message);
  }

  // Do what a function does, which is given {signal} and a function to call with a stage's name, its share, and the message.
  async run(what) {
    if (this.running) return this.say(new Error(BUSY));
    this.running = new AbortController();
    const start = performance.now();
    const passed = () => (performance.now() - start) / 1000;
    $("error").textContent = "";
    document.body.setAttribute("aria-busy", "true");
    this.onchange();
    let measured = null; // the stage that says its share: {said, since, share}
    let told = null; // {left, at}: seconds that the server expects, and when it said so
    const tick = () => {
      $("progress").hidden = passed() < SHOWN;
      $("seconds").textContent = remaining(passed(), measured, told);
    };
    const stage = (said, share, message = {}) => {
      if (share === undefined) measured = null;
      else measured = { said, share, since: measured?.said === said ? measured.since : passed() };
      if (message.left !== undefined) told = { left: message.left, at: passed() };
      $("stage-said").textContent = `${said[0].toUpperCase()}${said.slice(1)}${share === undefined ? "…" : ` ${Math.floor(100 * share)} %`}`;
      $("progress").classList.toggle("measured", share !== undefined);
      $("progress").style.setProperty("--share", share ?? 0);
    };
    stage("working");
    const clock = setInterval(tick, 100);
    try {
      await what({ signal: this.running.signal }, stage);
      if ($("error").textContent === BUSY) $("error").textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") this.say(error);
    } finally {
      clearInterval(clock);
      this.running = null;
      $("progress").hidden = true;
      document.body.removeAttribute("aria-busy");
      this.onchange();
    }
  }
}

// What is left in words: as the server expects; else as the share done tells, from the third second on; else the seconds passed.
export function remaining(passed, measured, told) {
  let left = null;
  if (told) left = told.left - (passed - told.at);
  else if (measured && measured.share > 0.02 && passed >= 3) left = ((passed - measured.since) * (1 - measured.share)) / measured.share;
  if (left === null) return `${passed.toFixed(0)} s`;
  return left < 1 ? "nearly done" : `about ${left < 10 ? Math.round(left) : 5 * Math.round(left / 5)} s left`;
}
