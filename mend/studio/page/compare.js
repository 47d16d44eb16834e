// Methods side by side: the same hole of the same picture, filled by each.
import { sentence } from "./request.js";
import { $, make, seconds } from "./dom.js";

export class Compare {
  shown = null; // what a link is to show

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
    const boxes = methods.map(([name, what], i) => {
      const checked = i < 4 && name !== "biharmonic"; // which may take minutes
      const box = make("input", { type: "checkbox", value: name, checked, onchange: this.studio.update });
      const text = make("span", {}, name, " ", make("small", { className: "quiet", textContent: what }));
      return make("label", { className: "check" }, box, text);
    });
    $("methods").replaceChildren(...boxes);
  }

  get chosen() {
    return [...document.querySelectorAll("#methods :checked")].map((box) => box.value);
  }

  update(blocked) {
    const count = this.chosen.length;
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
      const [input, chosen, score] = [studio.picture(), this.chosen, $("score").checked];
      const wanted = { ...studio.asked(), score, compared: true };
      const [marked, before] = [studio.kept(), studio.marks.shown($("photo"))];
      const figures = [];
      this.shown = null;
      for (const [i, model] of chosen.entries()) {
        const said = (what, share) => stage(`${i + 1} of ${chosen.length}, ${model}: ${what}`, share);
        const failed = (error) => {
          if (error.name === "AbortError") throw error;
          return { model, error: error.message };
        };
        figures.push({ ...(await studio.filled(input, { ...wanted, model }, options, said).catch(failed)), marked });
        this.draw(before, figures);
      }
      const done = figures.findLast((one) => one.picture); // the first is the first to give way
      if (done) this.shown = { picture: input.key, result: done.picture, methods: chosen, score };
    });
  }

  draw(before, figures) {
    const best = Math.max(...figures.map((one) => one.psnr ?? -1));
    const figure = (image, title, text, name = "span") =>
      make("figure", {}, image, make("figcaption", {}, make("b", { textContent: title }), make(name, { textContent: text })));
    $("grid").replaceChildren(
      figure(make("img", { src: before, alt: "What was marked" }), "Marked", ""),
      ...figures.map((one) => {
        if (one.error) return figure(make("p", { className: "failed", textContent: sentence(one.error) }), one.model, "");
        const image = make("img", { src: this.studio.preview(one.picture), alt: `Filled by ${one.model}` });
        const numbers = "psnr" in one ? ` · PSNR ${one.psnr.toFixed(2)} dB · SSIM ${one.ssim.toFixed(3)}` : "";
        const reveal = () => this.studio.task((...how) => this.studio.reveal(one, ...how).then(() => this.studio.view("fill")));
        const open = make("button", { type: "button", onclick: reveal }, image);
        return figure(open, one.model, `${seconds(one.seconds)}${numbers}`, figures.length > 1 && one.psnr === best ? "mark" : "span");
      }),
    );
    this.studio.show("compared");
  }

  link() {
    return this.studio.task(async (options) => {
      this.shown.link ??= (await this.studio.request("/links", { ...options, body: JSON.stringify(this.shown) })).link;
      address(this.shown.link);
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      $("linked").textContent = `${copied ? "Copied." : "The link is in the address bar."} It works until this studio is ended.`;
    });
  }

  // What a link in the address shows, in a session of one's own.
  async follow() {
    const link = new URLSearchParams(location.hash.slice(1)).get("compare");
    if (link === null) return;
    address();
    this.studio.view("compare");
    let found = null;
    await this.studio.task(async (options, stage) => {
      found = await this.studio.request(`/links/${encodeURIComponent(link)}`, options, stage);
      await this.studio.open(found, options);
      for (const box of document.querySelectorAll("#methods input")) box.checked = found.methods.includes(box.value);
      $("score").checked = found.score;
      address(link);
    });
    if (found) this.compare();
  }
}

// The page's address leads to a comparison, or only to the page.
function address(link) {
  window.history.replaceState(null, "", link ? `#compare=${link}` : location.pathname);
  $("linked").textContent = "";
}
