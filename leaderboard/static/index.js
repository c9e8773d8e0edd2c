/* The state of the view: it lives in the URL's hash, so that a link reproduces what its sender saw. */
"use strict";
(() => {
  const sections = [...document.querySelectorAll("section.suite")];
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  if (!sections.length) return;

  function setUp(section) {
    const heads = [...section.querySelectorAll("th[data-name]")];
    const all = heads.filter((head) => head.dataset.construct).map((head) => head.dataset.name);
    const cols = heads.filter((head) => head.dataset.construct && !("more" in head.dataset)).map((head) => head.dataset.name);
    const data = page.data(section.querySelector("[data-figure]"));
    const defaults = { sort: "robust_accuracy", dir: "desc", q: "", regime: "", arch: "", pareto: "", cols, x: data.x[0] || "", y: data.y[0] || "" };
    return { section, heads, all, data, defaults, state: { ...defaults }, suite: section.dataset.suite };
  }
  const views = sections.map(setUp);
  let active = views[0];

  const firstDirection = (view, name) => (view.heads.find((head) => head.dataset.name === name)?.dataset.better === "up" ? "desc" : "asc");

  function hash(view) {
    const parameters = new URLSearchParams({ suite: view.suite });
    for (const [key, value] of Object.entries(view.state)) {
      if (String(value) !== String(view.defaults[key])) parameters.set(key, String(value));
    }
    return `#${parameters}`;
  }

  /* What a link may hold is checked: an unknown column, value or direction falls back to the default. */
  function parse(view, parameters) {
    const state = { ...view.defaults };
    for (const key of ["q", "regime", "arch"]) state[key] = parameters.get(key) ?? "";
    if (parameters.get("pareto") === "1") state.pareto = "1";
    for (const key of ["x", "y"]) if (view.data[key].includes(parameters.get(key))) state[key] = parameters.get(key);
    const sort = parameters.get("sort");
    if (sort === "model" || view.all.includes(sort)) { state.sort = sort; state.dir = firstDirection(view, sort); }
    if (["asc", "desc"].includes(parameters.get("dir"))) state.dir = parameters.get("dir");
    if (parameters.has("cols")) state.cols = view.all.filter((name) => parameters.get("cols").split(",").includes(name));
    return state;
  }

  function render() {
    for (const view of views) view.section.hidden = view !== active;
    for (const tab of tabs) {
      const selected = tab.dataset.suite === active.suite;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    const { section, state, data } = active;
    for (const control of section.querySelectorAll("[data-filter]")) {
      if (control.type === "checkbox") control.checked = state[control.dataset.filter] === "1";
      else if (control.value !== state[control.dataset.filter]) control.value = state[control.dataset.filter];
    }
    for (const box of section.querySelectorAll("[data-column]")) box.checked = state.cols.includes(box.dataset.column);
    const visible = page.table.draw(section.querySelector("[data-ranking]"), state);
    page.figure.draw(section.querySelector("[data-figure]"), data, state, visible);
  }

  function update(change) {
    Object.assign(active.state, change);
    history.replaceState(null, "", hash(active));
    render();
  }

  function select(view) { active = view; update({}); }

  function readHash() {
    const text = window.location.hash.slice(1);
    if (text && !text.includes("=")) { render(); return; }
    const parameters = new URLSearchParams(text);
    active = views.find((view) => view.suite === parameters.get("suite")) ?? active;
    active.state = parse(active, parameters);
    render();
  }

  function sortBy(name) {
    const again = active.state.sort === name;
    update({ sort: name, dir: again ? (active.state.dir === "desc" ? "asc" : "desc") : firstDirection(active, name) });
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-sort-by], [role=tab], [data-columns]");
    if (!target) return;
    if (target.dataset.sortBy) sortBy(target.dataset.sortBy);
    else if (target.dataset.columns) update({ cols: target.dataset.columns === "all" ? active.all : active.defaults.cols });
    else select(views[tabs.indexOf(target)]);
  });
  document.addEventListener("input", (event) => {
    const { filter, axis, column } = event.target.dataset;
    if (filter) update({ [filter]: event.target.type === "checkbox" ? (event.target.checked ? "1" : "") : event.target.value });
    else if (axis) update({ [axis]: event.target.value });
    else if (column) update({ cols: active.all.filter((name) => (name === column ? event.target.checked : active.state.cols.includes(name))) });
  });
  document.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !step) return;
    const next = (at + step + tabs.length) % tabs.length;
    select(views[next]);
    tabs[next].focus();
  });

  for (const section of sections) if (tabs.length) section.setAttribute("role", "tabpanel");
  for (const list of document.querySelectorAll(".tabs")) list.hidden = false;
  window.addEventListener("hashchange", readHash);
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; render(); } });
  page.onTheme(render);
  readHash();
})();
