// What programs may ask for, as /openapi.json describes it.
import { request, sentence } from "./request.js";
import { $, make } from "./dom.js";

const table = (title, heads, rows) =>
  make("table", {},
    make("caption", { textContent: title, className: "heading" }),
    make("thead", {}, make("tr", {}, ...heads.map((textContent) => make("th", { textContent, scope: "col" })))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((textContent) => make("td", { textContent }))))));

// A type in one word, such as "integer", for one that may be left out too.
function type(field) {
  const one = field.type ? field : field.anyOf.find((other) => other.type !== "null");
  return one.format === "binary" ? "file" : one.type;
}

function operation(path, method, { description, requestBody, responses }) {
  const name = `${method.toUpperCase()} ${path}`;
  const head = [make("h3", {}, make("code", { textContent: name })), make("p", { textContent: description.replaceAll(/`(.*?)`/g, "“$1”") })];
  const card = make("section", { className: "card", tabIndex: 0, ariaLabel: name }, ...head);
  const form = requestBody?.content["multipart/form-data"].schema;
  if (form) {
    const rows = Object.entries(form.properties).map(([name, field]) =>
      [name, type(field), form.required.includes(name) ? "needed" : String(field.default ?? "–"), sentence(field.description)]);
    card.append(table("Form fields", ["Name", "Type", "Default", "What it is"], rows));
  }
  card.append(table("Answers", ["Status", "What it means"], Object.entries(responses).map(([status, one]) => [status, one.description])));
  return card;
}

$("curl").textContent = `curl -F image=@photo.jpg -F mask=@mask.png ${location.origin}/fill -o filled.jpg`;
request("/openapi.json", { method: "GET" }).then(
  ({ paths }) => {
    for (const [path, methods] of Object.entries(paths))
      for (const [method, described] of Object.entries(methods)) $("operations").append(operation(path, method, described));
    document.body.dataset.ready = "true";
  },
  (error) => ($("error").textContent = sentence(error.message)),
);
