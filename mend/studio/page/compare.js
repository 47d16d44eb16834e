// Methods side by side: the same hole of the same picture, filled by each; looked at closely, chosen from, and linked to.
import { Choices } from "./choices.js";
import { Lenses } from "./lenses.js";
import { sentence } from "./request.js";
import { $, make, seconds } from "./dom.js";

const SLOW = new Set(["biharmonic", "harmonic"]); // which may take minutes

export class Compare {
  shown = null; // what a link is to show
  figures = []; // of the results, in the order in which they are shown
  chosen = null; // the result that a person chose of these
  choices = new Choices($("choices"));
  lenses = new Lenses((key, options) => this.full(key, options));

  // What it needs of the studio: its marks, tasks and pictures; see studio.js.
  constructor(studio) {
    this.studio = studio;
    $("cut").onclick = () => this.cut();
    $("compare").onclick = () => this.compare();
    $("change").onclick = () => studio.show("marking");
    $("link").onclick = () => this.link();
    addEventListener("hashchange", () => this.follow());
  }

  // The methods that there are, with what each is.
  offer(methods) {
    const quick = methods.filter(([name]) => !SLOW.has(name)).slice(0, 3).map(([name]) => name);
    const boxes = methods.map(([name, what]) => {
      const box = make("input", { type: "checkbox", value: name, checked: quick.includes(name), onchange: this.studio.update });
      const text = make("span", {}, name, " ", make("small", { className: "quiet", textContent: what }));
      return make("label", { className: "check" }, box, text);
    });
    $("methods").replaceChildren(...boxes);
  }

  get ticked() {
    return [...document.querySelectorAll("#methods :checked")].map((box) => box.value);
  }

  update(blocked) {
    const count = this.ticked.length;
    $("compare").disabled = blocked || count < 2 || count > 6;
    $("link").hidden = !this.shown;
  }

  // Another picture is open.
  leave() {
    this.shown = null;
    address();
  }

  // A blob of about 15 % of the picture, somewhere within it: as good as any to measure by.
  cut() {
    const [x, y, phase] = [0.3 + 0.4 * Math.random(), 0.3 + 0.4 * Math.random(), 2 * Math.PI * Math.random()];
    const corners = Array.from({ length: 90 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 90;
      const radius = 0.215 * (1 + 0.25 * Math.sin(3 * angle + phase));
      return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
    });
    this.studio.marks.clear();
    this.studio.marks.outline(corners);
    $("score").checked = true;
  }

  compare() {
    const { studio } = this;
    return studio.task(async (options, stage) => {
      const [input, ticked, score, blind] = [studio.picture(), this.ticked, $("score").checked, $("blind").checked];
      const wanted = { ...studio.asked(), score, compared: true };
      const [marked, before] = [studio.kept(), studio.marks.shown($("photo"))];
      const figures = [];
      this.count = ticked.length;
      this.shown = null;
      for (const [i, model] of ticked.entries()) {
        const what = blind ? "" : `, ${model}`;
        const said = (words, share, message) => stage(`${i + 1} of ${ticked.length}${what}: ${words}`, share, message);
        const failed = (error) => {
          if (error.name === "AbortError") throw error;
          return { model, error: error.message };
        };
        figures.push({ ...(await studio.filled(input, { ...wanted, model }, options, said).catch(failed)), marked });
        if (!blind) this.draw(input, before, figures, false);
      }
      this.draw(input, before, blind ? shuffle(figures) : figures, blind);
      const done = figures.find((one) => one.picture);
      const last = figures.findLast((one) => one.picture); // the first is the first to give way
      scrollTo({ top: 0 }); // on a phone the results lie above the button
      if (done) this.shown = { picture: input.key, result: last.picture, methods: ticked, score };
    });
  }

  // `blind`: names and numbers are hidden until one is chosen.
  draw(input, before, figures, blind) {
    Object.assign(this, { input, before, figures, blind, chosen: null });
    this.redraw();
    this.studio.show("compared");
  }

  redraw() {
    const { figures, blind, chosen } = this;
    const hidden = blind && !chosen;
    const filled = figures.filter((one) => one.picture);
    const best = Math.max(...figures.map((one) => one.psnr ?? -1));
    const name = (one, i) => (hidden ? `Result ${"ABCDEF"[i]}` : one.model);
    const view = (one, i) => {
      if (one.error) return make("p", { className: "failed", textContent: sentence(one.error) });
      const image = make("img", { src: this.studio.preview(one.picture), alt: `Filled by ${name(one, i)}`, draggable: false });
      return this.lenses.frame(image, one.picture);
    };
    const caption = (one, i) => {
      const numbers = "psnr" in one ? ` · PSNR ${one.psnr.toFixed(2)} dB · SSIM ${one.ssim.toFixed(3)}` : "";
      const told = hidden || one.error ? "" : `${seconds(one.seconds)}${numbers}`;
      const text = make(!hidden && figures.length > 1 && one.psnr === best ? "mark" : "span", { textContent: told });
      const acts = one.error ? [] : [this.acts(one, name(one, i), filled)];
      const mark = one === chosen ? [make("span", { className: "chosen", textContent: "Chosen" })] : [];
      return make("figcaption", {}, make("b", { textContent: name(one, i) }), text, ...mark, ...acts);
    };
    const marked = make("img", { src: this.before, alt: "What was marked", draggable: false });
    this.lenses.clear([this.input.width, this.input.height], 1 + this.count);
    const first = make("figure", {}, this.lenses.frame(marked), make("figcaption", {}, make("b", { textContent: "Marked" })));
    const others = figures.map((one, i) => make("figure", {}, view(one, i), caption(one, i)));
    $("results").replaceChildren(first, ...others);
    $("blind-said").textContent = hidden ? "Which looks best? You see the names when you have chosen." : "";
  }

  acts(one, name, filled) {
    const { studio } = this;
    const row = make("span", { className: "acts" });
    const button = (textContent, ariaLabel, onclick) => row.append(make("button", { type: "button", textContent, ariaLabel, onclick }));
    if (this.blind && !this.chosen) {
      button("This one", `${name} looks best`, () => {
        this.chosen = one;
        this.choices.add(one.model, filled.filter((other) => other !== one).map((other) => other.model), this.input.name);
        this.redraw();
      });
    } else button("Use it", `Use the result of ${name}`, () => studio.task((...how) => studio.reveal(one, ...how).then(() => studio.view("fill"))));
    return row;
  }

  // The address of a picture or a result at its full size.
  async full(key, options) {
    await this.studio.request(`/pictures/${key}/full`, options);
    return this.studio.preview(key).replace(/preview$/, "full");
  }

  link() {
    return this.studio.task(async (options) => {
      this.shown.link ??= (await this.studio.request("/links", { ...options, body: JSON.stringify(this.shown) })).link;
      address(this.shown.link);
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      $("linked").textContent = `${copied ? "Copied." : "The link is in the address bar."} It works until this studio is ended.`;
    });
  }

  // The link in the address, or null.
  get linked() {
    return new URLSearchParams(location.hash.slice(1)).get("compare");
  }

  // What it shows, in a session of one's own.
  async follow() {
    const link = this.linked;
    if (link === null) return;
    address();
    this.studio.view("compare");
    let found = null;
    await this.studio.task(async (options, stage) => {
      found = await this.studio.request(`/links/${encodeURIComponent(link)}`, options, stage);
      await this.studio.open(found, options);
      for (const box of document.querySelectorAll("#methods input")) box.checked = found.methods.includes(box.value);
      $("score").checked = found.score;
      $("blind").checked = false;
      address(link);
    });
    if (found) this.compare();
  }
}

function shuffle(list) {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]);
}

// The page's address leads to a comparison, or only to the page.
function address(link) {
  window.history.replaceState(null, "", link ? `#compare=${link}` : location.pathname);
  $("linked").textContent = "";
}
