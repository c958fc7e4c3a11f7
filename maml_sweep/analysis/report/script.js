// The report's behaviour: theme, figures, the trial table. Plain scripts, no network; everything
// shown comes from the JSON blocks of the page and is set as text, never as HTML.
(() => {
  "use strict";

  const root = document.documentElement;
  const json = (id) => JSON.parse(document.getElementById(id).textContent);
  const palette = json("palette");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  let printing = false;

  // ---- Theme --------------------------------------------------------------------------------

  const remembered = {
    get() { try { return localStorage.getItem("maml-sweep-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("maml-sweep-theme", theme); } catch { /* private */ } },
  };
  const chosen = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const colours = () => palette[printing ? "print" : chosen()];

  function showTheme(wanted) {
    if (wanted) root.dataset.theme = wanted;
    const button = document.getElementById("theme");
    button.hidden = false;
    button.textContent = chosen() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${button.textContent.toLowerCase()} colours`);
  }

  // ---- Figures ------------------------------------------------------------------------------

  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const PAPER = { width: 680, height: 0.85 }; // pixels between an A4 page's margins; of a figure's
  const plots = new Map(); // id -> { node, figures, index, drawn }

  // "role:accent", "role:accent@0.2" and "scale:value", anywhere in a figure, become colours.
  function colour(text) {
    const [, kind, name, opacity] = /^(role|scale):(\w+)(?:@([\d.]+))?$/.exec(text) ?? [];
    if (!kind) return text;
    const found = colours()[`${kind}s`][name] ?? text;
    if (!opacity) return found;
    return found + Math.round(255 * opacity).toString(16).padStart(2, "0");
  }

  function coloured(value) {
    if (typeof value === "string") return colour(value);
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each)]));
    }
    return value;
  }

  const hasWebGL = !!document.createElement("canvas").getContext("webgl");

  // Parallel coordinates are drawn by WebGL; in its place plotly would show a link to elsewhere.
  function isBeyond(plot) {
    if (hasWebGL || !plot.figures[plot.index].data.some((trace) => trace.type === "parcoords")) return false;
    plot.node.className = "nothing";
    plot.node.style.minHeight = "";
    plot.node.textContent = "Your browser lacks WebGL, which draws this figure. maml-sweep report --format svg draws it too.";
    return true;
  }

  function draw(plot) {
    if (isBeyond(plot)) return null;
    const { data, layout: wide, narrow: tall } = coloured(plot.figures[plot.index]);
    const layout = tall && narrow.matches && !printing ? tall : wide;
    const paper = { width: PAPER.width, height: PAPER.height * layout.height, autosize: false };
    const size = printing ? paper : { autosize: true };
    const isFirst = !plot.drawn;
    plot.drawn = true;
    plot.node.style.minHeight = `${size.height ?? layout.height}px`;
    const done = Plotly.react(plot.node, data, { ...layout, ...size, uirevision: plot.index }, CONFIG);
    if (isFirst) plot.node.on("plotly_click", ({ points }) => showTrial(points[0].customdata));
    return done;
  }

  const redraw = () => plots.forEach((plot) => { if (plot.drawn) draw(plot); });
  const drawAll = () => Promise.all([...plots.values()].map(draw));

  function watch() {
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        const plot = plots.get(target.dataset.figure);
        if (!plot.drawn) draw(plot);
      }
    }, { rootMargin: "600px 0px" });
    plots.forEach((plot) => near.observe(plot.node));
  }

  for (const node of document.querySelectorAll(".plot")) {
    const id = node.dataset.figure;
    const select = document.getElementById(`${id}-choice`);
    const plot = { node, figures: json(`${id}-data`), index: select ? Number(select.value) : 0, drawn: false };
    plots.set(id, plot);
    select?.addEventListener("change", () => { plot.index = Number(select.value); draw(plot); });
  }

  // ---- Trials -------------------------------------------------------------------------------

  const FEW = 100; // rows shown until more are asked for
  const { columns, kinds } = json("trials-data");
  const count = columns.length ? columns[0].values.length : 0;
  const table = document.getElementById("trials-table");
  const filter = document.getElementById("filter");
  const every = Array.from({ length: count }, (_, row) => row);
  const words = every.map((row) => columns.map((each) => String(each.values[row] ?? "")).join(" ").toLowerCase());
  const order = { column: 0, falling: false };
  let limit = FEW;

  const compare = new Intl.Collator(undefined, { numeric: true }).compare;

  function sorted(rows) {
    const { values, number } = columns[order.column];
    const sign = order.falling ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // empty: last
      return sign * (number ? x - y : compare(x, y)) || a - b;
    });
  }

  // A term is part of a row's words, or a comparison such as inner_lr<0.01 or state=complete.
  const OPERATORS = {
    "<": (x, y) => x < y, "<=": (x, y) => x <= y, ">": (x, y) => x > y, ">=": (x, y) => x >= y,
    "=": (x, y) => x === y,
  };
  function matcher(term) {
    const parts = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(term);
    const column = parts && columns.find(({ key }) => [key, key.split(".").pop()].some((name) => name.toLowerCase() === parts[1]));
    if (!column) return (row) => words[row].includes(term);
    const [wanted, holds] = [column.number ? Number(parts[3]) : parts[3], OPERATORS[parts[2]]];
    return (row) => {
      const value = column.values[row];
      return value !== null && holds(column.number ? value : value.toLowerCase(), wanted);
    };
  }

  const short = new Map();
  function shown(value) {
    if (typeof value !== "number" || Number.isInteger(value)) return value === null ? "" : String(value);
    if (!short.has(value)) short.set(value, String(Number(value.toPrecision(5))));
    return short.get(value);
  }

  function cell(column, row) {
    const td = document.createElement("td");
    const value = column.values[row];
    td.textContent = shown(value);
    td.classList.toggle("number", column.number);
    td.classList.toggle("minor", column.minor);
    if (column.key === "state") td.classList.add("state", value);
    if (td.textContent !== String(value ?? "")) td.title = String(value);
    return td;
  }

  function line(row) {
    const tr = document.createElement("tr");
    if (kinds[row]) tr.className = kinds[row];
    tr.append(...columns.map((column) => cell(column, row)));
    return tr;
  }

  function fill() {
    const terms = filter.value.toLowerCase().split(/\s+/).filter(Boolean).map(matcher);
    const rows = sorted(every.filter((row) => terms.every((matches) => matches(row))));
    const visible = rows.slice(0, limit);
    table.tBodies[0].replaceChildren(...visible.map(line));
    const button = document.getElementById("all");
    button.hidden = visible.length === rows.length;
    button.textContent = `Show all ${rows.length.toLocaleString("en")}`;
    const total = rows.length === count ? `${count} trials` : `${rows.length} of ${count} trials`;
    document.getElementById("shown").textContent = button.hidden ? total : `first ${visible.length} of ${total}`;
  }

  function showTrial(slot) {
    if (!Number.isInteger(slot)) return;
    filter.value = `slot=${slot}`;
    fill();
    document.getElementById("trials").scrollIntoView();
  }

  function sortBy(index) {
    order.falling = order.column === index && !order.falling;
    order.column = index;
    [...table.tHead.rows[0].cells].forEach((th, each) => {
      th.setAttribute("aria-sort", each !== index ? "none" : order.falling ? "descending" : "ascending");
    });
    fill();
  }

  function head() {
    const row = table.createTHead().insertRow();
    columns.forEach(({ label, number, minor, about }, index) => {
      const th = document.createElement("th");
      const button = document.createElement("button");
      th.scope = "col";
      th.setAttribute("aria-sort", index === order.column ? "ascending" : "none");
      th.classList.toggle("number", number);
      th.classList.toggle("minor", minor);
      if (about) th.title = about;
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => sortBy(index));
      th.append(button);
      row.append(th);
    });
    table.createTBody();
  }

  // ---- Copying, printing, start -------------------------------------------------------------

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch { // no permission: select it, so that the keyboard can copy
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  document.getElementById("theme").addEventListener("click", () => {
    showTheme(chosen() === "dark" ? "light" : "dark");
    remembered.set(root.dataset.theme);
    redraw();
  });
  system.addEventListener("change", () => { showTheme(); redraw(); });
  narrow.addEventListener("change", redraw);
  document.getElementById("all").addEventListener("click", () => { limit = Infinity; fill(); });
  filter.addEventListener("input", () => { limit = FEW; fill(); });
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; redraw(); });

  showTheme(remembered.get());
  head();
  fill();
  watch();
})();
