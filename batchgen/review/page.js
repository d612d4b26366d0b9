import { count, element, figure, pairs, section, text, visible } from "./shown.js";

const at = (id) => document.getElementById(id);
const ORDERS = { input: "as in the input", doubt: "by doubt", sample: "random sample per label" };
const PAGE = 100;
const wanted = { text: "", values: {}, ranges: {}, order: "input", down: false };
let opened, start = 0, total = 0, rows = [], chosen = -1, row = null, asked = 0, busy = Promise.resolve();
const done = []; // what this window kept, for undo

async function get(path, parameters = {}) {
  return answerOf(await fetch(`${path}?${new URLSearchParams(parameters)}`));
}

async function post(path, body) {
  return answerOf(await fetch(path, { method: "POST", body: JSON.stringify(body) }));
}

async function answerOf(reply) {
  const found = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(found.error ?? `The page's server answered ${reply.status}.`);
  return found;
}

function tell(message) {
  at("told").textContent = message;
}

// Keeps actions in the order of their keys, one at a time; what fails is said and changes nothing.
function act(action) {
  busy = busy.then(action).catch((error) => tell(error instanceof TypeError ? "The page's server does not answer; is it still running?" : error.message));
  return busy;
}

const about = () => ({ reading: opened.reading, wanted: JSON.stringify(wanted) });

async function list(keep = false) {
  const turn = ++asked;
  const found = await get("rows", { ...about(), start });
  if (turn !== asked) return;
  ({ rows, count: total } = found);
  at("count").textContent = `${count(total)} of ${count(opened.rows)} rows`;
  at("shown").textContent = rows.length ? `${count(start + 1)}–${count(start + rows.length)}` : "none";
  at("before").disabled = start === 0;
  at("after").disabled = start + rows.length >= total;
  if (!keep || chosen >= rows.length) chosen = rows.length ? 0 : -1;
  drawList();
  await Promise.all([showRow(), facets(turn), accuracy()]);
}

function drawList() {
  at("rows").replaceChildren(
    ...rows.map((one, place) =>
      element(
        "li",
        { id: `row-${place}`, role: "option", "aria-selected": String(place === chosen), className: `${one.status} ${one.checked}`, onclick: () => act(() => choose(place)) },
        element("span", { className: "id", dir: "auto" }, visible(one.row_id)),
        element("span", { className: "label", dir: "auto" }, visible(one.label ?? "–")),
        element("span", { className: "marks" }, marks(one)),
        element("span", { className: "answer", dir: "auto" }, visible((one.answer ?? "").replace(/\s+/gu, " "))),
      ),
    ),
  );
  if (chosen >= 0) at("rows").setAttribute("aria-activedescendant", `row-${chosen}`);
}

function marks(one) {
  const found = [];
  if (one.checked !== "no") found.push(one.checked === "accepted" ? "✓ accepted" : "✎ corrected");
  if (one.change && one.change !== "same") found.push(one.change);
  if (one.sure !== null) found.push(`${Math.round(100 * one.sure)} % sure`);
  if (one.attempts > 1) found.push(`${one.attempts} requests`);
  return found.join(" · ");
}

async function choose(place) {
  chosen = place;
  for (const [number, line] of [...at("rows").children].entries()) line.setAttribute("aria-selected", String(number === place));
  at("rows").setAttribute("aria-activedescendant", `row-${place}`);
  at(`row-${place}`)?.scrollIntoView({ block: "nearest" });
  await showRow();
}

async function step(by) {
  if (rows.length === 0) return;
  const next = chosen + by;
  if (next >= 0 && next < rows.length) return choose(next);
  if (next >= rows.length && start + rows.length < total) return turnTo(start + PAGE - left(), 0);
  if (next < 0 && start > 0) return turnTo(start - PAGE, PAGE - 1);
  tell(by > 0 ? "This is the last row." : "This is the first row.");
}

// How many rows of the list no longer fit, since they were checked meanwhile: so many move up.
function left() {
  const states = wanted.values.checked ?? [];
  return states.length ? rows.filter((one) => !states.includes(one.checked)).length : 0;
}

async function turnTo(first, place = 0) {
  start = Math.max(0, first);
  await list();
  if (place && rows.length) await choose(Math.min(place, rows.length - 1));
}

async function showRow() {
  const place = chosen < 0 ? null : rows[chosen].place;
  if (place === null) {
    row = null;
    at("row").replaceChildren(element("p", {}, "No row fits."));
    return;
  }
  const found = await get("row", { reading: opened.reading, place });
  if (chosen < 0 || rows[chosen].place !== place) return;
  row = found.row;
  const body = [element("h2", { dir: "auto" }, visible(row.row_id)), actions(), fields(found.other)];
  body.push(section("Source", true, pairs(row.source)));
  if (row.reasoning !== null) body.push(section("Reasoning", true, text(row.reasoning)));
  body.push(section("Answer as it came", true, text(row.answer)));
  if (found.other) body.push(section("Answer of the other run", true, text(found.other.answer)));
  if (row.tool_calls !== null) body.push(section("Tool calls", true, text(row.tool_calls)));
  if (row.turns.length) body.push(section("All answers", true, pairs(row.turns)));
  body.push(section("Figures", true, pairs(row.figures, "figures")));
  body.push(section("Prompt as sent", true, pairs(row.prompt)));
  if (row.history.length) body.push(section("Checked", true, pairs(row.history.map((one) => [one.field, `${one.value ?? "–"}  (was ${one.was ?? "–"}), ${one.by}, ${one.when}`]))));
  at("row").replaceChildren(...body);
  at("row").scrollTop = 0;
}

function actions() {
  const button = (title, key, action) => element("button", { type: "button", onclick: () => act(action) }, `${title} `, element("kbd", {}, key));
  return element("p", { className: "actions" }, button("accept", "a", () => keep(null)), button("skip", "s", () => step(1)), button("undo", "u", undo), button("previous", "k", () => step(-1)), button("next", "j", () => step(1)));
}

function fields(other) {
  const there = new Map((other?.fields ?? []).map((field) => [field.name, field.value]));
  const first = labelField();
  return element(
    "div",
    { className: "fields" },
    ...row.fields.map((field, number) => {
      const id = `field-${number}`;
      const input = element("textarea", { id, value: field.value ?? "", rows: Math.min(8, (field.value ?? "").split("\n").length), dir: "auto", spellcheck: false });
      input.addEventListener("keydown", (event) => edited(event, field, input));
      input.addEventListener("change", () => act(() => keepField(field, input)));
      const lines = [element("label", { htmlFor: id }, visible(field.name), field.checked ? " ✓" : ""), input];
      if (field.value !== field.was) lines.push(element("p", { className: "was" }, `the run said ${visible(field.was ?? "–")}`));
      if (other && there.get(field.name) !== field.was) lines.push(element("p", { className: "was" }, `the other run said ${visible(there.get(field.name) ?? "–")}`));
      if (field.words.length) {
        lines.push(element("p", { className: "words" }, ...field.words.slice(0, 50).map((word, place) => element("button", { type: "button", "aria-pressed": String(word === field.value), onclick: () => act(() => pick(field, word)) }, field === first && place < 9 ? element("kbd", {}, String(place + 1)) : null, ` ${visible(word)}`))));
      }
      return element("div", { className: "field" }, ...lines);
    }),
  );
}

const labelField = () => row?.fields.find((field) => `parsed.${field.name}` === opened.label) ?? row?.fields.find((field) => field.words.length);

function edited(event, field, input) {
  if (event.key === "Escape") {
    input.value = field.value ?? "";
    at("rows").focus();
  } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("rows").focus(); // which is the change
  }
}

async function keepField(field, input) {
  const value = input.value === "" ? null : input.value;
  if (value !== field.value) await say({ [field.name]: value }, false);
}

async function pick(field, word) {
  await say({ [field.name]: word }, field === labelField());
}

async function keep(values) {
  if (row) await say(values, true);
}

async function say(values, on) {
  const { place } = rows[chosen];
  const { when } = await post("say", { reading: opened.reading, place, values });
  done.push({ row_id: row.row_id, when, place });
  tell(`Kept: ${row.row_id}.`);
  await refresh(place);
  await (on ? step(1) : showRow());
}

async function undo() {
  const last = done.at(-1);
  if (!last) return tell("This window has nothing to undo.");
  await post("undo", last);
  done.pop();
  tell(`Undone: ${last.row_id}.`);
  await refresh(last.place);
  const place = rows.findIndex((one) => one.place === last.place);
  await (place >= 0 ? choose(place) : showRow());
}

// Looks up what is known of a row now. The list keeps its rows, so that none is passed over when it no longer fits.
async function refresh(place) {
  const found = await get("rows", { reading: opened.reading, wanted: JSON.stringify({ values: { "#place": [String(place)] } }) });
  rows = rows.map((one) => (one.place === place ? found.rows[0] : one));
  drawList();
  await Promise.all([facets(asked), accuracy()]);
}

async function facets(turn) {
  const found = await get("facets", about());
  if (turn !== asked) return;
  const isOpen = new Map([...at("facets").querySelectorAll("details")].map((one) => [one.dataset.name, one.open]));
  const wide = matchMedia("(min-width: 60rem)").matches;
  const drawn = (name, number, ...lines) => {
    const made = section(visible(name.replace(/^parsed\./u, "")), isOpen.get(name) ?? (wide && number < 9), element("ul", {}, ...lines));
    made.dataset.name = name;
    return made;
  };
  const all = [];
  for (const [name, counts] of Object.entries(found.words)) {
    all.push(drawn(name, all.length, ...counts.map(([value, number]) => choice(visible(value ?? "(none)"), number, (wanted.values[name] ?? []).includes(value), (on) => {
      const others = (wanted.values[name] ?? []).filter((one) => one !== value);
      wanted.values[name] = on ? [...others, value] : others;
    }))));
  }
  for (const [name, bins] of Object.entries(found.numbers)) {
    all.push(drawn(name, all.length, ...bins.map(([low, high, number]) => {
      const is = wanted.ranges[name]?.[0] === low && wanted.ranges[name]?.[1] === high;
      return choice(`${figure(low)} to ${figure(high)}`, number, is, (on) => (on ? (wanted.ranges[name] = [low, high]) : delete wanted.ranges[name]));
    })));
  }
  const focused = document.activeElement?.dataset?.choice;
  at("facets").replaceChildren(...(at("accuracy") ? [at("accuracy")] : []), ...all);
  if (focused) [...at("facets").querySelectorAll("input")].find((one) => one.dataset.choice === focused)?.focus();
}

function choice(title, number, checked, change) {
  const box = element("input", { type: "checkbox", checked, onchange: () => { change(box.checked); start = 0; act(() => list()); } });
  box.dataset.choice = title;
  return element("li", {}, element("label", {}, box, element("span", { className: "value", dir: "auto" }, title), element("span", { className: "number" }, count(number))));
}

async function accuracy() {
  if (wanted.order !== "sample") return at("accuracy")?.remove();
  const found = await get("accuracy", { reading: opened.reading });
  const share = (one) => (one.low === null ? "–" : `${Math.round(100 * (one.value ?? one.right / one.checked))} % (${Math.round(100 * one.low)}–${Math.round(100 * one.high)})`);
  const lines = found.labels.map((one) => [one.label ?? "(none)", `${share(one)}, ${one.right} of ${one.checked} right, ${count(one.rows)} rows`]);
  lines.unshift(["all", found.value === null ? "nothing checked yet" : `${share(found)}, covers ${Math.round(100 * found.covered)} % of the rows`]);
  const made = section("Accuracy by the sample (95 %)", true, pairs(lines));
  made.id = "accuracy";
  at("accuracy")?.remove();
  at("facets").prepend(made);
}

const KEYS = { j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1), s: () => step(1), a: () => keep(null), u: undo };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search], textarea, select")) return;
  const key = event.key;
  if (key === "/") {
    event.preventDefault();
    at("search").focus();
  } else if (key === "e") {
    event.preventDefault();
    at("field-0")?.focus();
  } else if (key in KEYS) {
    event.preventDefault();
    act(KEYS[key]);
  } else if (/^[1-9]$/u.test(key)) {
    act(async () => {
      const field = labelField();
      const word = field?.words[Number(key) - 1];
      if (word !== undefined) await pick(field, word);
    });
  }
});

let typing;
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { wanted.text = at("search").value; start = 0; act(() => list()); }, 200);
});
at("search").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === "Escape") at("rows").focus(); });
at("order").addEventListener("change", () => { wanted.order = at("order").value; start = 0; act(() => list()); });
at("down").addEventListener("click", () => { wanted.down = !wanted.down; at("down").setAttribute("aria-pressed", String(wanted.down)); start = 0; act(() => list()); });
at("keys").addEventListener("click", () => { at("help").hidden = !at("help").hidden; at("keys").setAttribute("aria-expanded", String(!at("help").hidden)); });
at("before").addEventListener("click", () => act(() => turnTo(start - PAGE)));
at("after").addEventListener("click", () => act(() => turnTo(start + PAGE - left())));

act(async () => {
  opened = await get("open");
  document.title = `${opened.name} – batchgen view`;
  at("name").textContent = visible(opened.name + (opened.other ? ` beside ${opened.other}` : "") + (opened.simulated ? " (simulated)" : ""));
  const names = ["row_id", ...opened.numbers, ...opened.words.filter((name) => name !== "checked")];
  at("order").replaceChildren(...Object.entries(ORDERS).map(([value, title]) => element("option", { value }, title)), ...names.map((value) => element("option", { value }, visible(value))));
  if (opened.notes.length) tell(opened.notes.join(" "));
  await list();
  at("rows").focus();
});
