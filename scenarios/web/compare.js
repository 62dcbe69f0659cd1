// The plots of several runs over each other: colour tells the entity, the kind of line the run. A table beside each
// plot shows every run's value under the pointer; its rows and the buttons of the runs hide curves.
(() => {
  const { draw, decoded, decimals, colour } = timePlots;
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("plots");

  const COLOURS = 12;
  const DASHES = [[], [7, 4], [2, 3], [11, 3, 2, 3], [5, 2], [14, 4], [1, 2], [8, 2, 2, 2, 2, 2]];
  const dash = (run) => DASHES[run % DASHES.length];
  const width = (run) => run % DASHES.length ? 1.9 : 1.5;
  const shownRuns = data.runs.map(() => true);

  for (const button of document.querySelectorAll("button.toggle")) {
    const run = Number(button.dataset.run), line = button.querySelector("line");
    line.setAttribute("stroke-dasharray", dash(run).join(" "));
    button.addEventListener("click", () => {
      shownRuns[run] = !shownRuns[run];
      button.setAttribute("aria-pressed", shownRuns[run]);
      plots.forEach((plot) => plot.update());
    });
  }
  if (!place || !data.plots.length) return;

  // The value of a curve at a time, between its two samples there; null outside and in gaps.
  function valueAt(t, values, at) {
    if (!t.length || at < t[0] || at > t.at(-1)) return null;
    let low = 0, high = t.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (t[middle] <= at) low = middle; else high = middle;
    }
    if (t[high] <= at) low = high;
    if (t[low] === at || low === high) return values[low];
    if (values[low] === null || values[high] === null) return null;
    return values[low] + (values[high] - values[low]) * (at - t[low]) / (t[high] - t[low]);
  }

  function element(kind, text = "", name = "") {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  let charts = () => [];
  const boxes = place.querySelectorAll(".plot");
  const plots = data.plots.map((plot, number) => {
    const parts = plot.parts.map((part) => ({ run: part.run, t: decoded(part.t, 1e-6),
      curves: part.curves.map((curve) => ({ entity: curve.entity, values: decoded(curve.d, plot.resolution) })) }));
    const curves = parts.flatMap((part) => part.curves.map((curve) => ({ ...curve, run: part.run, t: part.t })));
    const shown = plot.entities.map((entity) => entity.on);
    const digits = decimals(plot.resolution);
    const visible = (curve) => shownRuns[curve.run] && shown[curve.entity];

    // the table: a row for each entity, a column for each run
    const table = element("table"), head = element("tr");
    const time = head.appendChild(element("th", "", "time"));
    for (const run of data.runs) head.append(element("th", run.mark, "n"));
    table.append(head);
    const cells = new Map(), rows = plot.entities.map((entity, i) => {
      const row = element("tr"), name = row.appendChild(element("th"));
      const button = name.appendChild(element("button", "", "entity"));
      button.type = "button";
      button.append(element("i"), document.createTextNode(entity.label));
      button.addEventListener("click", () => { shown[i] = !shown[i]; update(); });
      data.runs.forEach((_, run) => cells.set(`${i} ${run}`, row.appendChild(element("td", "", "n"))));
      table.append(row);
      return { row, button };
    });
    const names = boxes[number].querySelector(".names");
    names.append(table);
    if (!shown.every(Boolean)) {
      const all = names.appendChild(element("button", `the ${plot.entities.filter((e) => e.on && e.colour >= 0).length} that differ most; show all`, "all"));
      all.type = "button";
      all.addEventListener("click", () => { shown.fill(true); update(); });
    }

    function paint() {
      rows.forEach(({ row, button }, i) => {
        row.classList.toggle("off", !shown[i]);
        button.setAttribute("aria-pressed", shown[i]);
        button.firstChild.style.background = colour(plot.entities[i].colour, COLOURS);
      });
    }

    // values under the pointer, else at the end
    function tell(chart) {
      const at = chart.cursor.idx ?? null, t = at === null ? null : chart.data[0][at];
      time.textContent = t === null ? "end" : t.toFixed(3) + " s";
      for (const curve of curves) {
        const v = t === null ? curve.values.at(-1) : valueAt(curve.t, curve.values, t);
        cells.get(`${curve.entity} ${curve.run}`).textContent = v === null ? "" : v.toFixed(digits);
      }
    }

    function update() {
      paint();
      const chart = charts()[number];
      chart.batch(() => curves.forEach((curve, i) => chart.setSeries(i + 1, { show: visible(curve) })));
    }

    const look = () => {
      paint();
      return {
        series: curves.map((curve) => ({
          label: `${plot.entities[curve.entity].label} ${data.runs[curve.run].mark}`, show: visible(curve),
          stroke: colour(plot.entities[curve.entity].colour, COLOURS), dash: dash(curve.run),
          width: plot.entities[curve.entity].colour < 0 ? 1 : width(curve.run), points: { show: false } })),
        legend: { show: false },
        hooks: { ready: [tell], setCursor: [tell] },
      };
    };
    // times of other runs are no gaps in a curve
    const columns = uPlot.join(parts.map((part) => [part.t, ...part.curves.map((curve) => curve.values)]));
    return { ...plot, box: boxes[number].querySelector(".chart"), columns, look, update };
  });

  const ends = plots.map(({ columns }) => [columns[0][0], columns[0].at(-1)]);
  const whole = [Math.min(...ends.map(([a]) => a)), Math.max(...ends.map(([, b]) => b))];
  charts = draw({ place, reset: document.getElementById("reset"), events: data.events, whole, plots, paperWidth: 680 });
})();
