// The plots of one run: a colour for each entity, and the legend shows the values under the pointer.
(() => {
  const { draw, decoded, decimals, colour, theme } = timePlots;
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("plots");
  if (!place || !data.plots.length) return;

  const COLOURS = 8;
  const DASHES = [[], [8, 4], [3, 3], [10, 3, 3, 3]];
  const dash = (curve) =>
    curve.role !== "line" ? [2, 2] : DASHES[Math.floor(curve.colour / COLOURS) % DASHES.length];

  const columns = data.plots.map((plot) =>
    [decoded(plot.t, 1e-6), ...plot.curves.map((curve) => decoded(curve.d, plot.resolution))]);
  const whole = [Math.min(...columns.map((c) => c[0][0])), Math.max(...columns.map((c) => c[0].at(-1)))];
  const boxes = place.querySelectorAll(".plot");

  const look = (plot) => () => {
    const digits = decimals(plot.resolution);
    const value = (chart, v) => v === null || v === undefined ? "" : v.toFixed(digits);
    const low = plot.curves.findIndex((c) => c.role === "low");
    const high = plot.curves.findIndex((c) => c.role === "high");
    return {
      series: plot.curves.map((curve) => ({
        label: curve.label, stroke: colour(curve.colour, COLOURS), dash: dash(curve), value,
        width: curve.role === "line" ? 1.6 : 1, points: { show: false } })),
      bands: low < 0 ? [] : [{ series: [high + 1, low + 1], fill: theme("--muted") + "33" }],
      legend: {
        markers: { width: 3, dash: (chart, i) => i && dash(plot.curves[i - 1]).length ? "dashed" : "solid" },
      },
    };
  };

  draw({
    place, reset: document.getElementById("reset"), events: data.events, whole, paperWidth: 680,
    plots: data.plots.map((plot, i) => ({ ...plot, box: boxes[i], columns: columns[i], look: look(plot) })),
  });
})();
