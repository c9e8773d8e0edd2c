/* The scatter of robustness against leakage. Plotly reads pseudo-HTML in its texts, so names are escaped. */
"use strict";
page.figure = (() => {
  const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
  /* The buttons are named one by one: by default plotly offers to send the chart to its maker's server. */
  const CONFIG = {
    displaylogo: false, responsive: true, plotlyServerURL: "", modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: "robust-or-private" },
  };
  const LABELS_UP_TO = 16;
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => ENTITIES[c]);
  const short = (text) => (text.length > 34 ? `${text.slice(0, 33)}…` : text);

  function scale(axis, value) { return axis.percent ? 100 * value : value; }
  function print(axis, value) { return axis.percent ? `${(100 * value).toFixed(1)}%` : value.toFixed(3); }

  function span(axis, values) {
    const ends = values.flatMap((v) => [scale(axis, v[1]), scale(axis, v[2])]);
    if (axis.null !== null) ends.push(scale(axis, axis.null));
    const low = Math.min(...ends), high = Math.max(...ends);
    const pad = Math.max((high - low) * 0.09, axis.percent ? 1 : 0.005);
    return [low - pad, high + pad];
  }

  /* Models that no other model beats in both directions, by their point estimates. */
  function front(points, x, y, axes) {
    if (axes[x].better !== "up" || axes[y].better !== "down") return [];
    const beaten = (p) => points.some((q) => {
      const dx = q.values[x][0] - p.values[x][0], dy = q.values[y][0] - p.values[y][0];
      return dx >= 0 && dy <= 0 && (dx > 0 || dy < 0);
    });
    const best = points.filter((p) => !beaten(p));
    return best.sort((p, q) => p.values[x][0] - q.values[x][0] || p.values[y][0] - q.values[y][0]);
  }

  /* A place for each label that covers no point and no other label, where there is one. */
  function places(points, x, y, axes, ranges, box) {
    const at = (axis, range, v, size) => ((scale(axis, v) - range[0]) / (range[1] - range[0])) * size;
    const dots = points.map((p) => [at(axes[x], ranges[0], p.values[x][0], box.width), box.height - at(axes[y], ranges[1], p.values[y][0], box.height)]);
    const taken = dots.map(([cx, cy]) => [cx - 6, cy - 6, cx + 6, cy + 6]);
    const overlap = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    return points.map((p, i) => {
      const [cx, cy] = dots[i], width = short(p.model).length * 6.6 + 4;
      const options = ["top right", "bottom right", "top left", "bottom left", "top center", "bottom center"].map((name) => {
        const left = name.endsWith("right") ? cx + 4 : name.endsWith("left") ? cx - 4 - width : cx - width / 2;
        const top = name.startsWith("top") ? cy - 20 : cy + 5;
        const label = [left, top, left + width, top + 15];
        const outside = width * 15 - overlap(label, [0, 0, box.width, box.height]);
        return { name, label, cost: taken.reduce((sum, other) => sum + overlap(label, other), 2 * outside) };
      });
      const best = options.reduce((a, b) => (b.cost < a.cost - 1 ? b : a));
      taken.push(best.label);
      return best.name;
    });
  }

  function hover(point, x, y, axes) {
    const line = (name) => {
      const [value, low, high] = point.values[name], axis = axes[name];
      const ends = low < high ? ` [${print(axis, low)}, ${print(axis, high)}]` : "";
      return `${axis.label} ${print(axis, value)}${ends}`;
    };
    const kind = [point.architecture, point.regime].filter(Boolean).map(escape).join(", ");
    return [`<b>${escape(short(point.model))}</b>`, kind, line(x), line(y), point.masking ? "masking suspected" : ""].filter(Boolean).join("<br>");
  }

  function bars(points, name, axis) {
    const ends = (i) => points.map((p) => Math.abs(scale(axis, p.values[name][i]) - scale(axis, p.values[name][0])));
    return { type: "data", symmetric: false, array: ends(2), arrayminus: ends(1), thickness: 1, width: 0 };
  }

  function traces(points, all, x, y, axes, where) {
    const regimes = [...new Set(all.map((p) => p.regime))].sort();
    return regimes.map((regime, i) => {
      const own = points.filter((p) => p.regime === regime), colour = page.colour(`series-${(i % 6) + 1}`);
      return {
        type: "scatter", name: escape(regime), mode: where ? "markers+text" : "markers", showlegend: own.length > 0,
        x: own.map((p) => scale(axes[x], p.values[x][0])), y: own.map((p) => scale(axes[y], p.values[y][0])),
        error_x: { ...bars(own, x, axes[x]), color: colour }, error_y: { ...bars(own, y, axes[y]), color: colour },
        text: own.map((p) => escape(short(p.model))), textposition: where ? own.map((p) => where.get(p)) : undefined,
        textfont: { size: 12, color: page.colour("ink") }, cliponaxis: false,
        customdata: own.map((p) => [p.href, hover(p, x, y, axes)]), hovertemplate: "%{customdata[1]}<extra></extra>",
        marker: { size: 10, color: own.map((p) => (p.masking ? page.colour("paper") : colour)), symbol: SYMBOLS[i % 6], line: { width: 2, color: colour } },
      };
    });
  }

  function layout(x, y, axes, ranges, narrow) {
    const ink = page.colour("ink"), quiet = page.colour("quiet"), hair = page.colour("hair"), paper = page.colour("paper");
    const arrow = (axis) => ({ up: " (higher is better)", down: " (lower is better)" }[axis.better] || "");
    const axis = (name, range) => ({
      range, title: { text: axes[name].label + (narrow ? "" : arrow(axes[name])), font: { size: 13 }, standoff: 8 }, ticksuffix: axes[name].percent ? "%" : "",
      gridcolor: hair, linecolor: quiet, zeroline: false, showline: true, ticks: "outside", tickcolor: quiet, ticklen: 4, nticks: narrow ? 5 : 9,
    });
    const nulls = [[x, "x"], [y, "y"]].filter(([name]) => axes[name].null !== null).map(([name, side]) => [scale(axes[name], axes[name].null), side, axes[name]]);
    return {
      paper_bgcolor: paper, plot_bgcolor: paper, font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: ink },
      margin: { l: narrow ? 52 : 64, r: 16, t: 34, b: 52 }, hovermode: "closest", dragmode: narrow ? false : "zoom",
      hoverlabel: { bgcolor: paper, bordercolor: quiet, font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12.5 }, align: "left" },
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: 12.5 }, itemclick: false, itemdoubleclick: false },
      xaxis: axis(x, ranges[0]), yaxis: axis(y, ranges[1]),
      shapes: nulls.map(([v, side]) => (side === "y" ? { xref: "paper", x0: 0, x1: 1, y0: v, y1: v } : { yref: "paper", y0: 0, y1: 1, x0: v, x1: v })).map((s) => ({ ...s, type: "line", layer: "below", line: { color: quiet, width: 1.5, dash: "dash" } })),
      annotations: nulls.map(([v, side, a]) => ({ text: `null ${print(a, a.null)}`, showarrow: false, font: { size: 11.5, color: quiet }, ...(side === "y" ? { xref: "paper", x: 1, y: v, xanchor: "right", yanchor: "bottom" } : { yref: "paper", y: 1, x: v, xanchor: "left", yanchor: "top" }) })),
    };
  }

  function caption(points, total, best, x, y, axes) {
    const parts = [`${points.length} of ${total} models have both numbers.`, "Bars: 95% intervals."];
    if (best.length) parts.push("Line: the front of these two measures alone, through the point estimates; the badge Pareto is of more, by intervals.");
    if (axes[y].null !== null) parts.push(`Dashed: the value if nothing leaked, ${print(axes[y], axes[y].null)}.`);
    if (points.some((p) => p.masking)) parts.push("Open marker: gradient masking suspected.");
    return `${parts.join(" ")} A click on a point opens its model.`;
  }

  /* Draws one suite's figure; `visible` says which models the filters leave. */
  function draw(figure, data, state, visible) {
    const plot = figure.querySelector(".plot"), note = figure.querySelector("figcaption");
    const x = data.x.includes(state.x) ? state.x : data.x[0], y = data.y.includes(state.y) ? state.y : data.y[0];
    const measured = x && y ? data.points.filter((p) => p.values[x] && p.values[y]) : [];
    const points = measured.filter((p) => visible.has(p.model));
    plot.hidden = measured.length === 0;
    figure.querySelector(".choices").hidden = measured.length === 0 && !data.y.length;
    if (!measured.length) { note.textContent = "No model has both a robustness and a leakage number yet."; return; }
    figure.querySelector('[data-axis="x"]').value = x;
    figure.querySelector('[data-axis="y"]').value = y;
    const narrow = plot.clientWidth < 560;
    const ranges = [span(data.axes[x], measured.map((p) => p.values[x])), span(data.axes[y], measured.map((p) => p.values[y]))];
    const box = { width: plot.clientWidth - 80, height: plot.clientHeight - 86 };
    const named = points.length <= LABELS_UP_TO && !narrow ? places(points, x, y, data.axes, ranges, box) : null;
    const where = named && new Map(points.map((p, i) => [p, named[i]]));
    const best = front(measured, x, y, data.axes);
    const line = {
      type: "scatter", mode: "lines", name: "front of the two", hoverinfo: "skip", showlegend: best.length > 1,
      x: best.map((p) => scale(data.axes[x], p.values[x][0])), y: best.map((p) => scale(data.axes[y], p.values[y][0])),
      line: { shape: "vh", color: page.colour("quiet"), width: 1.25 },
    };
    Plotly.react(plot, [...(best.length ? [line] : []), ...traces(points, measured, x, y, data.axes, where)], layout(x, y, data.axes, ranges, narrow), CONFIG);
    if (!plot.dataset.ready) {
      plot.dataset.ready = "1";
      plot.on("plotly_click", (event) => { const href = event.points[0].customdata; if (href) window.location.href = href[0]; });
    }
    note.textContent = caption(points, data.points.length, best, x, y, data.axes);
  }

  return { draw };
})();
