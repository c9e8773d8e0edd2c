/* The pictures of a model page. They lie in scripts beside it, which are loaded when they are to be shown. */
"use strict";
(() => {
  const root = document.getElementById("pictures");
  if (!root) return;
  const { model, hrefs, views } = page.data(root);
  const { make } = page;
  const ALL = "all";
  const place = (name) => root.querySelector(`[data-picture="${name}"]`);
  const decimal = (value, none = "–") => (value === null || value === undefined ? none : value.toFixed(3));
  const choose = (values, value) => (values.includes(value) ? value : values[0]);
  const text = (value) => (value === null ? "–" : String(value));

  /* One request a script, whoever asks for it. */
  const asked = new Map();
  const arrived = new Map();
  page.receive = (name, value) => arrived.set(name, value);
  function load(name) {
    if (!asked.has(name)) {
      asked.set(name, new Promise((resolve, reject) => {
        const script = make("script", { src: `../pictures/${name}` });
        script.addEventListener("load", () => resolve(arrived.get(name)));
        script.addEventListener("error", () => reject(new Error(name)));
        document.head.append(script);
      }));
    }
    return asked.get(name);
  }

  function picture(uri, alt) {
    if (!uri) return make("div", { class: "no-image", role: "img", "aria-label": `${alt}: no image was kept` }, "no image");
    return make("img", { src: uri, alt, decoding: "async" });
  }
  const figure = (uri, alt, ...caption) => make("figure", {}, picture(uri, alt), ...(caption.length ? [make("figcaption", {}, ...caption)] : []));
  const name = (value) => make("bdi", { class: "name" }, value);
  const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);

  function verdict(shot) {
    if (shot.recognised === null) return "";
    const word = shot.recognised ? "recognised" : "not recognised";
    return make("span", { class: shot.recognised ? "ok" : "bad", title: `${word} by both evaluators` }, shot.recognised ? "✓" : "✗", make("span", { class: "sr" }, ` ${word}`));
  }

  function modelHead(entry, state, ...more) {
    const own = entry.model === model;
    const title = own ? make("strong", {}, name(entry.model)) : make("a", { href: `${hrefs[entry.model]}#${state.hash}` }, name(entry.model));
    const other = entry.shots && text(entry.replica) !== state.replica ? [make("span", { class: "recipe" }, `replica ${text(entry.replica)}`)] : [];
    return make("th", { scope: "row", ...(own ? { "aria-current": "true" } : {}) }, title, ...more, ...other);
  }

  /* A table of pictures: a row a model, a column a sample or a class. */
  function sheet(label, corner, heads, rows) {
    const head = make("tr", {}, make("td", {}, corner), ...heads.map((text) => make("th", { scope: "col" }, text)));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      make("table", { class: "sheet" }, make("thead", {}, head), make("tbody", {}, ...rows)));
  }
  const nothing = (n) => make("td", { class: "quiet", colspan: String(Math.max(1, n)) }, "this attack has no reconstruction of it");

  function night({ suite, state }) {
    const shown = suite.classes.filter((c) => state.class === ALL || c.id === state.class);
    const pick = (entry) => (state.class === ALL ? shown.map((c) => [c, entry.shots[c.id]?.[0]]) : (entry.shots[state.class] ?? []).map((shot) => [shown[0], shot]));
    const width = Math.max(0, ...suite.models.filter((m) => m.shots).map((m) => pick(m).length));
    const heads = state.class === ALL ? shown.map((c) => make("bdi", {}, c.name)) : Array.from({ length: width }, (_, i) => `sample ${i + 1}`);
    const rows = suite.models.map((entry) => make("tr", {}, modelHead(entry, state), ...(entry.shots
      ? pick(entry).map(([c, shot]) => make("td", {}, shot ? figure(suite.images[shot.image], `${c.name}, reconstructed from ${entry.model}`) : "–"))
      : [nothing(width)])));
    return sheet("Night and day", "", heads, rows);
  }

  function byClass({ suite, own, state }, draw) {
    return suite.classes.filter((c) => own.shots[c.id] && (state.class === ALL || c.id === state.class)).map((c) => draw(c, own.shots[c.id]));
  }

  function samples(all) {
    return make("div", {}, ...byClass(all, (c, shots) => {
      const seen = shots.filter((shot) => shot.recognised !== null);
      const right = seen.length ? `${seen.filter((shot) => shot.recognised).length} of ${seen.length} recognised by both evaluators` : "not judged";
      return make("section", { class: "class" }, make("h4", {}, make("bdi", {}, c.name), " ", make("span", {}, right)),
        make("ul", { class: "dense" }, ...shots.map((shot) => make("li", {}, figure(all.suite.images[shot.image], `${c.name}, sample ${shot.number + 1}`,
          make("span", { title: "the attacked model's confidence in the class" }, percent(shot.confidence)), " ", verdict(shot))))));
    }));
  }

  function neighbor(all, [key, cosine], c, what, closer) {
    const found = all.alone.pictures[key];
    const wrong = found.class !== c.id;
    const caption = [make("span", closer ? { class: "closer" } : {}, decimal(cosine)),
      make("span", { class: wrong ? "kind wrong" : "kind" }, ...(wrong ? ["≠ "] : []), make("bdi", {}, found.name), ...(wrong ? [make("span", { class: "sr" }, " another class")] : []))];
    const shown = figure(all.alone.images[found.image], `${what}: ${found.name}, image ${key}`, ...caption);
    shown.title = `${found.name}, image ${key}`;
    if (wrong) shown.className = "other-class";
    return shown;
  }

  function nearest(all) {
    const near = all.alone.near[all.state.space] ?? {};
    let closer = 0;
    let known = 0;
    const parts = byClass(all, (c, shots) => {
      const lists = near[c.id] ?? [];
      const rows = shots.map((shot, i) => {
        const { members = [], non_members: others = [] } = lists[i] ?? {};
        const gap = members.length && others.length ? members[0][1] - others[0][1] : 0;
        if (members.length && others.length) { known += 1; closer += gap > 0 ? 1 : 0; }
        return make("li", { class: "near" }, figure(all.suite.images[shot.image], `${c.name}, reconstruction ${shot.number + 1}`, `#${shot.number + 1} `, verdict(shot)),
          ...members.map((item, at) => neighbor(all, item, c, `nearest member ${at + 1}`, at === 0 && gap > 0)),
          make("div", { class: "control" }, ...others.map((item) => neighbor(all, item, c, "nearest non-member", gap < 0))));
      });
      return make("section", { class: "class" }, make("h4", {}, make("bdi", {}, c.name)), make("ol", { class: "rows" }, ...rows));
    });
    const summary = make("p", { class: "about" }, `${all.state.space} space: ${closer} of ${known} shown reconstructions are closer to a member than to any non-member.`);
    return make("div", {}, summary, ...parts);
  }

  function exposed(all) {
    const sides = all.alone.exposed[all.state.space] ?? {};
    const names = { members: "Members", non_members: "Non-members, for comparison" };
    const parts = Object.entries(names).filter(([side]) => sides[side]).map(([side, title]) => {
      const { hits, expected, reconstructions, size } = sides[side];
      const about = `${reconstructions} reconstructions over ${size.toLocaleString("en")} images: ${expected.toPrecision(2)} hits each if all were equally likely`;
      return make("section", { class: "class" }, make("h4", {}, title, " ", make("span", {}, about)), make("ol", { class: "dense" }, ...hits.map(([key, count]) => {
        const found = all.alone.pictures[key];
        const shown = figure(all.alone.images[found.image], `${found.name}, image ${key}`, make("b", {}, `${count} ×`), make("br"), make("bdi", {}, found.name));
        shown.title = `image ${key}`;
        return make("li", {}, shown);
      })));
    });
    return make("div", {}, ...parts);
  }

  function means({ suite, state }) {
    const mean = make("tr", {}, make("th", { scope: "row" }, "mean member"), ...suite.classes.map((c) => make("td", {}, figure(suite.images[c.mean], `mean member of ${c.name}`))));
    const rows = suite.models.map((entry) => make("tr", {},
      modelHead(entry, state, make("span", { class: "recipe" }, entry.correlation === null ? "not measured" : `mean r = ${decimal(entry.correlation)}`)),
      ...(entry.shots ? suite.classes.map((c) => {
        const shot = entry.shots[c.id]?.[0];
        return make("td", {}, shot ? figure(suite.images[shot.image], `${c.name}, reconstructed from ${entry.model}`, decimal(shot.correlation)) : "–");
      }) : [nothing(suite.classes.length)])));
    return sheet("Class means", "", suite.classes.map((c) => make("bdi", {}, c.name)), [mean, ...rows]);
  }

  const drawings = { night, samples, nearest, exposed, means };
  const selects = Object.fromEntries([...root.querySelectorAll("select[data-choice]")].map((s) => [s.dataset.choice, s]));
  const status = root.querySelector("output");
  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, label]) => make("option", { value: key }, label)));
    select.value = choose(options.map(([key]) => key), value);
  }

  let latest = 0;
  async function draw() {
    const run = ++latest;
    const wanted = new URLSearchParams(window.location.hash.slice(1));
    fill(selects.attack, [...new Set(views.map((v) => v.method))].map((m) => [m, m]), wanted.get("attack"));
    const same = views.filter((v) => v.method === selects.attack.value);
    fill(selects.replica, same.map((v) => [text(v.replica), text(v.replica)]), wanted.get("replica"));
    const view = same.find((v) => text(v.replica) === selects.replica.value);
    try {
      status.textContent = "loading …";
      const [suite, alone] = await Promise.all([load(view.suite), load(view.own)]);
      if (run !== latest) return;
      fill(selects.class, [...suite.classes.map((c) => [c.id, c.name]), [ALL, "all classes"]], wanted.get("class"));
      fill(selects.space, alone.spaces.map((s) => [s, s === "target" ? "target (the paper's)" : s]), wanted.get("space"));
      const state = Object.fromEntries(Object.entries(selects).map(([key, select]) => [key, select.value]));
      state.hash = new URLSearchParams(state).toString();
      const own = suite.models.find((m) => m.model === model);
      for (const [key, make_] of Object.entries(drawings)) place(key).replaceChildren(make_({ suite, alone, own, state }));
      status.textContent = "";
    } catch (error) {
      if (run === latest) status.textContent = `The pictures could not be loaded (${error.message}); build the page again with bench leaderboard.`;
    }
  }

  for (const select of Object.values(selects)) {
    select.addEventListener("input", () => {
      const state = Object.fromEntries(Object.entries(selects).map(([key, s]) => [key, s.value]));
      history.replaceState(null, "", `#${new URLSearchParams(state)}`);
      draw();
    });
  }
  window.addEventListener("hashchange", draw);
  draw();
})();
