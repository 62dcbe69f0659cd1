// Time plots below each other that zoom together and show when events happened. Numbers arrive as whole multiples
// of a resolution, each as its difference to the one before.
"use strict";
const timePlots = (() => {
  const LABEL_FONT = 11, LABEL_ROW = 15, LABEL_ROWS = 3, LONG_S = 3 * 3600;

  const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // the colour of a number, of `count` that there are; negative is none
  const colour = (number, count) => number < 0 ? theme("--muted") : theme("--c" + number % count);

  function decoded(steps, resolution) {
    let sum = 0;
    return steps.map((step) => step === null ? null : (sum += step) * resolution);
  }

  const decimals = (resolution) => Math.max(0, Math.min(6, -Math.floor(Math.log10(resolution) + 1e-9)));

  // Where texts of events stand: side by side, else each a row below the one before, so that no line crosses
  // a text. What finds no room is written as its number, or not at all. `x` in units of `pixel`.
  function eventTexts(context, marks, right, rows, pixel) {
    const ends = Array(rows).fill(-Infinity);
    return marks.map(({ x, event }) => {
      for (const text of [event.label, event.label.split(" ")[0]]) {
        const width = context.measureText(text).width;
        const left = Math.min(x - 3 * pixel, right - width);
        const row = ends.findIndex((end) => left > end + 8 * pixel);
        if (row < 0) continue;
        ends[row] = left + width;
        return { x, left, row, text };
      }
      return { x, left: x, row: rows, text: "" };
    });
  }

  // Rows of event texts that the whole run needs.
  function rowsNeeded(events, whole, width) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `${LABEL_FONT}px system-ui, sans-serif`;
    const scale = (width - 62 - 16) / (whole[1] - whole[0] || 1);
    const marks = events.map((event) => ({ event, x: 62 + (event.t - whole[0]) * scale }));
    const texts = eventTexts(context, marks, width - 16, LABEL_ROWS, 1).filter(({ text }) => text);
    return Math.max(0, ...texts.map(({ row }) => row + 1));
  }

  const drawEvents = (events, rows) => (chart) => {
    const { ctx: context, bbox } = chart, pixel = uPlot.pxRatio, right = bbox.left + bbox.width;
    const marks = events.map((event) => ({ event, x: chart.valToPos(event.t, "x", true) }))
      .filter(({ x }) => x >= bbox.left - 1 && x <= right + 1);
    context.save();
    context.font = `${LABEL_FONT * pixel}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.strokeStyle = theme("--muted");
    context.fillStyle = theme("--ink");
    context.lineWidth = pixel;
    context.setLineDash([4 * pixel, 3 * pixel]);
    for (const { x, left, row, text } of eventTexts(context, marks, right, rows, pixel)) {
      const bottom = bbox.top - (3 + Math.max(0, rows - 1 - row) * LABEL_ROW) * pixel;
      context.beginPath();
      context.moveTo(x, text ? bottom : bbox.top);
      context.lineTo(x, bbox.top + bbox.height);
      context.stroke();
      context.fillText(text, left, bottom);
    }
    context.restore();
  };

  function range(span) {
    return (chart, low, high) => {
      if (low === null || high === null) return [0, 1];
      const short = Math.max(0, span - (high - low)) / 2;
      const room = 0.06 * Math.max(high - low, span);
      return [low - short - room, high + short + room];
    };
  }

  // As many decimals as the distance of two ticks needs.
  function ticks(chart, splits) {
    const step = splits.length > 1 ? splits[1] - splits[0] : 1;
    let digits = 0;  // a step of 0.25 needs two
    while (digits < 9 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
    return splits.map((value) => value.toFixed(digits));
  }

  function axis(label, size) {
    const line = { stroke: () => theme("--grid"), width: 1 };
    const font = "12px system-ui, sans-serif";
    return { label, size, labelSize: 20, gap: 4, font, labelFont: font, values: ticks,
      stroke: () => theme("--muted"), grid: line, ticks: { ...line, size: 4 } };
  }

  // Draw plots. Each has its `box`, `columns` (times first), `unit`, `span` that its axis shows at least, and
  // `look()`: series, bands, legend and hooks of uPlot in the colours of the moment. Returns the charts of now.
  function draw({ place, reset, events, whole, plots, paperWidth }) {
    let charts = [], zoom = null;

    // Zooming one plot zooms all. The others answer with the same limits, which then changes nothing any more.
    function follow(chart, key) {
      if (key !== "x") return;
      const { min, max } = chart.scales.x;
      for (const other of charts) {
        if (other.scales.x.min !== min || other.scales.x.max !== max) other.setScale("x", { min, max });
      }
      zoom = min > whole[0] || max < whole[1] ? [min, max] : null;
      reset.disabled = zoom === null;
    }

    // Hours where seconds are too small to be read.
    function timeAxis(last) {
      if (whole[1] - whole[0] < LONG_S) return axis(last ? "Time [s]" : null, 26);
      return { ...axis(last ? "Time [h]" : null, 26), incrs: [0.1, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 120, 240, 720, 2400]
        .map((hours) => hours * 3600), values: (chart, splits) => splits.map((value) => String(+(value / 3600).toFixed(2))) };
    }

    function options(plot, last, width, rows) {
      const top = rows * LABEL_ROW, { series, bands = [], legend, hooks = {} } = plot.look();
      return {
        width, height: 204 + top + (last ? 20 : 0), padding: [top + 6, 16, 0, 0],
        scales: { x: { time: false, range: (chart, min, max) => [min ?? whole[0], max ?? whole[1]] },
          y: { range: range(plot.span) } },
        axes: [timeAxis(last), axis(plot.unit ? `[${plot.unit}]` : null, 42)],
        series: [{ label: "t", value: (chart, v) => v === null ? "" : v.toFixed(3) + " s" }, ...series],
        bands,
        cursor: { sync: { key: "time" }, focus: { prox: 24 }, drag: { x: true, y: false } },
        focus: { alpha: 0.35 },
        legend,
        hooks: { ...hooks, draw: [drawEvents(events, rows)], setScale: [follow] },
      };
    }

    function build() {
      for (const chart of charts) chart.destroy();
      charts = [];
      const paper = document.documentElement.classList.contains("paper");
      const widths = plots.map(({ box }) => paper ? paperWidth : box.clientWidth);
      const rows = rowsNeeded(events, whole, Math.min(...widths));
      plots.forEach((plot, i) => {
        charts.push(new uPlot(options(plot, i === plots.length - 1, widths[i], rows), plot.columns, plot.box));
      });
      if (zoom) charts[0].setScale("x", { min: zoom[0], max: zoom[1] });
    }

    function onPaper(yes) {
      document.documentElement.classList.toggle("paper", yes);
      build();
    }

    build();
    let waiting = 0;
    addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(build, 120); });
    addEventListener("beforeprint", () => onPaper(true));
    addEventListener("afterprint", () => onPaper(false));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
    reset.addEventListener("click", () => charts[0].setScale("x", { min: whole[0], max: whole[1] }));
    return () => charts;
  }

  return { draw, decoded, decimals, colour, theme };
})();
