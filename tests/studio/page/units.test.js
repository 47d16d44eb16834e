// Zoom, undo, marks and recovery without a browser: `node --test`.
import assert from "node:assert/strict";
import test from "node:test";
import { columns } from "../../../mend/studio/page/lenses.js";
import { pack, shrink, squaredDistances, unpack } from "../../../mend/studio/page/mask.js";
import { Recovery } from "../../../mend/studio/page/recovery.js";
import { sentence, sentences } from "../../../mend/studio/page/request.js";
import { Steps } from "../../../mend/studio/page/steps.js";
import { remaining } from "../../../mend/studio/page/tasks.js";
import { Viewport } from "../../../mend/studio/page/viewport.js";

const near = (got, wanted, by = 1e-6) => got.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= by, `${got} is not ${wanted}`));

function opened(size = [6000, 4000], room = [1000, 800], density = 1) {
  const view = new Viewport(density);
  view.resize(room);
  view.open(size);
  return view;
}

test("the whole picture is seen at first, small ones at most at twice their size", () => {
  const view = opened();
  near([view.scale], [952 / 6000]);
  near(view.toRoom([3000, 2000]), [500, 400]);
  assert.equal(opened([100, 80]).scale, 2);
});

test("what lies at the lower edge covers nothing of the whole picture", () => {
  const view = opened([4000, 4000]);
  view.resize([1000, 800], 40);
  near([view.toRoom([0, 0])[1], view.toRoom([0, 4000])[1]], [24, 800 - 40 - 24]);
});

test("what is under the pointer stays there while one zooms", () => {
  const view = opened();
  view.zoomTo(0.5);
  const at = [300, 500];
  const before = view.toPicture(at);
  view.zoomBy(1.7, at);
  near(view.toPicture(at), before);
  assert.equal(view.fitted, false);
});

test("100 % is a pixel of the screen for each of the picture", () => {
  const view = opened([6000, 4000], [1000, 800], 2);
  view.zoomTo(view.actual);
  assert.equal(view.percent, 100);
  assert.equal(view.scale, 0.5);
});

test("zooming has ends, and the picture does not leave the room", () => {
  const view = opened();
  view.zoomBy(1e9);
  assert.equal(view.scale, 16);
  view.pan(1e9, -1e9);
  const [left] = view.toRoom([0, 0]);
  const [, bottom] = view.toRoom([6000, 4000]);
  near([left, bottom], [24, 800 - 24]);
  view.zoomBy(1e-9);
  near([view.scale], [view.whole]);
  near(view.toRoom([3000, 2000]), [500, 400]);
});

test("two fingers carry what is under them", () => {
  const view = opened();
  view.zoomTo(0.5);
  const [a, b] = [[300, 300], [500, 400]];
  const before = [view.toPicture(a), view.toPicture(b)];
  const after = [[200, 250], [600, 450]];
  view.pinch([a, b], after);
  near(view.toRoom(before[0]), after[0]);
  near(view.toRoom(before[1]), after[1]);
});

test("a window that changes keeps the whole picture, or what is in the middle", () => {
  const view = opened();
  view.resize([500, 900]);
  near([view.scale], [452 / 6000]);
  view.zoomTo(1);
  const middle = view.toPicture([250, 450]);
  view.resize([900, 500]);
  near(view.toPicture([450, 250]), middle);
  assert.equal(view.scale, 1);
});

test("steps are undone and done again, and a new one forgets those undone", async () => {
  const steps = new Steps(3);
  let value = 0;
  const set = (to) => {
    const from = value;
    value = to;
    steps.add({ undo: () => (value = from), redo: async () => (value = to) });
  };
  assert.equal(await steps.undo(), false);
  [1, 2, 3, 4].forEach(set);
  await steps.undo();
  await steps.undo();
  assert.equal(value, 2);
  await steps.redo();
  assert.equal(value, 3);
  set(9);
  assert.equal(await steps.redo(), false);
  for (let i = 0; i < 9; i++) await steps.undo();
  assert.equal(value, 1, "three steps are kept, not more or fewer");
});

test("a step that fails is not lost, and one at a time is undone", async () => {
  const steps = new Steps();
  let fails = true;
  let undone = 0;
  steps.add({ undo: async () => { if (fails) throw new Error("gone"); undone++; } });
  await assert.rejects(steps.undo(), /gone/);
  fails = false;
  await Promise.all([steps.undo(), steps.undo()]);
  assert.equal(undone, 1);
  assert.equal(steps.undone.length, 1);
});

test("a mask comes back from its runs", () => {
  const masks = ["", "0", "1", "0011", "1100", "10101", "0000", "1111"].map((text) => Uint8Array.from(text, Number));
  for (const mask of masks) assert.deepEqual(unpack(pack(mask)), mask);
  const large = new Uint8Array(4e6).fill(1, 1e6, 2e6);
  assert.equal(pack(large).length, 3);
});

test("a mask in small loses no mark", () => {
  const bytes = new Uint8Array(7 * 5);
  bytes[6] = bytes[3 * 7 + 2] = 1; // the last of the first row, and (2, 3)
  const small = shrink(bytes, 7, 5, 2);
  assert.deepEqual([small.width, small.height], [4, 3]);
  assert.deepEqual([...small.bytes.keys()].filter((i) => small.bytes[i]), [3, 5]);
});

test("distances are Euclid's", () => {
  const [width, height] = [13, 9];
  const bytes = new Uint8Array(width * height);
  const marked = [[2, 3], [11, 0], [7, 8]];
  for (const [x, y] of marked) bytes[y * width + x] = 1;
  const wanted = Array.from(bytes, (_, i) => Math.min(...marked.map(([x, y]) => (x - (i % width)) ** 2 + (y - Math.floor(i / width)) ** 2)));
  assert.deepEqual([...squaredDistances(bytes, width, height)], wanted);
});

// A store as the browser has it, which lives as long as the test: values are copies.
function makeStore() {
  const tables = { pages: new Map(), files: new Map() };
  const counts = { files: 0, pages: 0 };
  return {
    tables, counts,
    get: async (table, key) => structuredClone(tables[table].get(key)),
    keys: async (table) => [...tables[table].keys()],
    put: async (table, key, value) => (counts[table]++, tables[table].set(key, structuredClone(value))),
    delete: async (table, key) => tables[table].delete(key),
  };
}

const state = (marks, ...ids) => ({ versions: ids.map((id) => ({ id, name: `${id}.png`, file: `bytes of ${id}`, shown: `bytes of ${id}` })), current: ids.at(-1), runs: marks });

test("a page that comes back has its pictures and its marks, and each file is written once", async () => {
  const store = makeStore();
  const page = new Recovery(store, "here");
  page.keep(state([1], "a"));
  page.keep(state([2], "a"));
  await page.keep(state([3], "a", "b"));
  await page.keep(state([4], "a", "b"));
  assert.equal(store.counts.files, 2);
  assert.ok(store.counts.pages <= 3, "what waited is written, one after the other");
  const found = await new Recovery(store, "here").load();
  assert.deepEqual(found.runs, [4]);
  assert.deepEqual(found.versions, state([4], "a", "b").versions);
  assert.equal(await new Recovery(store, "elsewhere").load(), null);
});

test("a page whose file is gone is none", async () => {
  const store = makeStore();
  await new Recovery(store, "here").keep(state([1], "a"));
  await store.delete("files", "a");
  assert.equal(await new Recovery(store, "here").load(), null);
});

test("the page that was left last is found, without those that are open", async () => {
  const store = makeStore();
  for (const [i, key] of ["old", "late", "open"].entries()) await new Recovery(store, key, () => i).keep(state([i], key));
  const page = new Recovery(store, "new", () => 9);
  assert.equal(await page.latest(new Set(["open"])), "late");
  assert.equal(await page.latest(new Set(["open", "late", "old"])), null);
});

test("what is forgotten, or old, leaves no file, and what others have stays", async () => {
  const store = makeStore();
  const day = 86_400_000;
  await new Recovery(store, "old", () => 0).keep(state([], "a"));
  await new Recovery(store, "left", () => 9 * day).keep(state([], "b", "c"));
  await new Recovery(store, "other", () => 9 * day).keep(state([], "c"));
  const page = new Recovery(store, "new", () => 9 * day);
  await page.keep(state([], "d"));
  await page.load("left"); // and it is not gone on with
  await page.forget("left");
  assert.deepEqual([...store.tables.pages.keys()], ["other", "new"]);
  assert.deepEqual([...store.tables.files.keys()].sort(), ["c", "d"]);
});

test("what is gone on with stays, under the page that has it now", async () => {
  const store = makeStore();
  await new Recovery(store, "left").keep(state([1], "a"));
  const page = new Recovery(store, "new");
  const found = await page.load("left");
  page.adopt(found);
  await page.keep(found);
  await page.forget("left");
  assert.equal(store.counts.files, 1, "its files are not written again");
  assert.deepEqual((await page.load()).versions, state([1], "a").versions);
});

test("a write that fails is told, and the next is tried", async () => {
  const store = makeStore();
  const { put } = store;
  store.put = async () => { throw new Error("no room"); };
  const page = new Recovery(store, "here");
  await assert.rejects(page.keep(state([1], "a")), /no room/);
  store.put = put;
  await page.keep(state([2], "a"));
  assert.deepEqual((await page.load()).runs, [2]);
});

test("what is left is told in seconds", () => {
  assert.equal(remaining(1.4, null, null), "1 s");
  assert.equal(remaining(2, { share: 0.5, since: 0 }, null), "2 s", "too early to tell");
  assert.equal(remaining(4, { share: 0.25, since: 1 }, null), "about 9 s left");
  assert.equal(remaining(5, { share: 0.5, since: 0 }, { left: 42, at: 4 }), "about 40 s left", "the server knows better");
  assert.equal(remaining(50, null, { left: 42, at: 4 }), "nearly done");
});

test("pictures to compare are seen as large as fits without scrolling", () => {
  assert.equal(columns(4, [480, 320], [1064, 800]), "repeat(2, 456px)"); // two rows, as high as there is room
  assert.equal(columns(4, [320, 480], [1064, 800]), "repeat(4, 251px)"); // upright ones side by side
  assert.equal(columns(4, [480, 320], [1064, 300]), "repeat(4, 251px)");
  assert.equal(columns(4, [480, 320], [358, 800]), "minmax(0, 1fr)");
});

test("advice about arguments, which the page does not have, is left out", () => {
  const said = {
    'the mask: 70.5% is white; if the black part is the hole, add `hole="black"`': "The mask: 70.5% is white",
    "a.gif has 3 frames or pages, and one can be filled. Add `first_frame=True` to fill the first alone; the others are left out.":
      "a.gif has 3 frames or pages, and one can be filled.",
    '`device="cud"` is not to be had here (no such device). Use auto, cpu, cuda or mps.':
      'Device "cud" is not to be had here (no such device). Use auto, cpu, cuda or mps.',
    "`feather=3` is more than `grow=2`: what was marked would show through. The blend lies in what the hole is grown by: give `grow=3` or more.":
      "Feather 3 is more than grow 2: what was marked would show through. The blend lies in what the hole is grown by.",
    "Add `grow=3`. It is small.": "It is small.",
    "Add `grow=3`.": "Add grow 3.",
    "`a=b`.png is empty. Copy it again.": "`a=b`.png is empty. Copy it again.",
    "it is small. Add `grow=3`.": "It is small.",
    "networks of other people run on the CPU; the `device` is cuda. Leave it out.": "Networks of other people run on the CPU; the device is cuda. Leave it out.",
    "photo.png is empty": "photo.png is empty",
  };
  for (const [text, shown] of Object.entries(said)) assert.equal(sentence(text), shown);
  assert.equal(sentences(["Filled", "`opaque=True` makes what is filled opaque", "nothing else changed"]), "Filled. Nothing else changed.");
});
