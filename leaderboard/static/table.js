/* The ranking table of one suite: columns, order, filters. It only moves and hides what the page already holds. */
"use strict";
page.table = (() => {
  function order(rows, index, kind, descending) {
    const key = (row) => row.cells[index].dataset.sort;
    const compare = (a, b) => {
      const u = key(a), v = key(b);
      if (u === "" || v === "") return (u === "") - (v === "");
      const sign = descending ? -1 : 1;
      return sign * (kind === "number" ? Number(u) - Number(v) : u.localeCompare(v, "en", { numeric: true }));
    };
    return [...rows].sort((a, b) => compare(a, b) || a.dataset.place - b.dataset.place);
  }

  function matches(row, state) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const text = row.querySelector("th").dataset.sort + " " + row.querySelector(".recipe").textContent;
    return words.every((word) => text.toLowerCase().includes(word))
      && (!state.regime || row.dataset.regime === state.regime)
      && (!state.arch || row.dataset.arch === state.arch)
      && (!state.pareto || row.dataset.pareto === "1");
  }

  function rank(row, index) {
    const place = row.querySelector(".place"), cell = row.cells[index];
    place.textContent = (cell && cell.dataset.rank) || "";
    if (!place.textContent || !cell.dataset.tied) return;
    const tie = page.make("button", { type: "button", class: "why tied", "data-tip": `tied with ${cell.dataset.tied}: not told apart by their difference` }, "tied");
    tie.append(page.make("span", { class: "sr" }, ` with ${cell.dataset.tied}`));
    place.append(tie);
  }

  function columns(table, shown) {
    const heads = [...table.tHead.rows[1].cells];
    heads.forEach((head, i) => {
      if (!head.dataset.construct) return;
      const hidden = !shown.includes(head.dataset.name);
      head.hidden = hidden;
      for (const row of table.tBodies[0].rows) if (row.cells[i]) row.cells[i].hidden = hidden;
    });
    for (const group of table.tHead.rows[0].querySelectorAll("th")) {
      const count = heads.filter((head) => head.dataset.construct === group.dataset.construct && !head.hidden).length;
      group.hidden = count === 0;
      group.colSpan = Math.max(count, 1);
    }
  }

  /* Shows `state` and returns the names of the models that the filters leave. */
  function draw(ranking, state) {
    const table = ranking.querySelector("table"), heads = [...table.tHead.rows[1].cells];
    const rows = [...table.tBodies[0].rows].filter((row) => row.querySelector("th"));
    rows.forEach((row, i) => { row.dataset.place ??= i; });
    columns(table, state.cols);
    const index = heads.findIndex((head) => head.dataset.name === state.sort);
    heads.forEach((head, i) => {
      if (i === index) head.setAttribute("aria-sort", state.dir === "desc" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const sorted = order(rows, index, heads[index].dataset.kind, state.dir === "desc");
    table.tBodies[0].append(...sorted);
    const left = new Set();
    for (const row of sorted) {
      row.hidden = !matches(row, state);
      if (!row.hidden) left.add(row.querySelector("th").dataset.sort);
      rank(row, index);
      [...row.cells].forEach((cell, i) => cell.classList.toggle("sorted", i === index));
    }
    ranking.querySelector("[data-count]").textContent = left.size === rows.length ? `${rows.length} models` : `${left.size} of ${rows.length} models`;
    return left;
  }

  return { draw };
})();
