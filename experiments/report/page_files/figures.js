// The figures: plotly draws them, in the colours of the reader's theme, with a legend of plain buttons below.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  // Buttons by name: plotly's own choice has one that sends the figure to a server.
  const buttons = [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const options = (small) => ({ displaylogo: false, responsive: true, plotlyServerURL: "", displayModeBar: !small,
    modeBarButtons: buttons });
  const drawn = [];

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), soft: of("--soft"), grid: of("--grid"), rule: of("--rule"), card: of("--card") };
  }

  // Few epochs: a tick at each, none between.
  function ticks(layout, traces) {
    const last = Math.max(...traces.flatMap((trace) => trace.x));
    return layout.xaxis.title.text === "epoch" && last >= 2 && last <= 10 ? { dtick: 1, tick0: 0 } : {};
  }

  function themed({ layout, data: traces }, small) {
    const { ink, soft, grid, rule, card } = colours();
    const axis = (given) => ({
      gridcolor: grid, zerolinecolor: grid, linecolor: rule, showline: true, automargin: true, ticks: "outside",
      tickcolor: rule, exponentformat: "none", separatethousands: true, tickfont: { size: small ? 10 : 12 }, nticks: small ? 5 : 8, ...given,
      title: { standoff: small ? 6 : 10, font: { size: small ? 11 : 13, color: soft }, ...given.title },
    });
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: card, bordercolor: rule, font: { color: ink } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
      margin: { l: 8, r: 14, t: small ? 10 : 30, b: 8 }, hovermode: "closest", dragmode: false,
      xaxis: axis({ ...ticks(layout, traces), ...layout.xaxis }), yaxis: axis(layout.yaxis),
    };
  }

  // Counts in cells: the ink of the page is legible on all their colours.
  const inked = (traces) =>
    traces.map((trace) => (trace.type === "heatmap" ? { ...trace, textfont: { color: colours().ink } } : trace));

  // A line of the legend: as the trace is drawn.
  function swatch(trace) {
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg");
    svg.setAttribute("width", 26); svg.setAttribute("height", 12); svg.setAttribute("aria-hidden", "true");
    const add = (kind, values) => {
      const part = document.createElementNS(ns, kind);
      for (const [key, value] of Object.entries(values)) part.setAttribute(key, value);
      svg.append(part);
    };
    const colour = trace.line.color;
    if (trace.mode.includes("lines")) {
      const dash = { solid: "none", dash: "6 4", dot: "2 3" }[trace.line.dash];
      add("path", { d: "M1 6H25", stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash });
    } else if (trace.marker.symbol.startsWith("diamond")) {
      add("path", { d: "M13 0l5 6l-5 6l-5 -6z", fill: colour });
    } else {
      const hollow = trace.marker.symbol.endsWith("open");
      add("circle", { cx: 13, cy: 6, r: 4, stroke: colour, "stroke-width": 1.5, fill: hollow ? "none" : colour });
    }
    return svg;
  }

  function legend(figure, panels) {
    const groups = new Map();
    for (const panel of panels)
      for (const trace of panel.data)
        if (trace.legendgroup && !groups.has(trace.legendgroup)) groups.set(trace.legendgroup, trace);
    if (groups.size < 2 || panels.every((panel) => panel.data.length < 2)) return;
    const place = figure.querySelector(".legend");
    for (const [group, trace] of groups) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const name = document.createElement("span");
      name.innerHTML = trace.name; // escaped where it was made: plotly reads it alike
      button.append(swatch(trace), name);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        for (const axes of figure.querySelectorAll(".axes")) {
          const which = axes.data.flatMap((t, index) => (t.legendgroup === group ? [index] : []));
          if (which.length) Plotly.restyle(axes, { visible: on }, which);
        }
      });
      place.append(button);
    }
  }

  for (const [id, panels] of Object.entries(data.plots)) {
    const figure = document.getElementById("plot-" + id);
    const small = figure.classList.contains("small");
    const places = figure.querySelectorAll(".axes");
    panels.forEach((panel, index) => {
      drawn.push({ place: places[index], panel, small });
      Plotly.newPlot(places[index], inked(panel.data), themed(panel, small), options(small));
    });
    legend(figure, panels);
  }

  const again = () => {
    for (const { place, panel, small } of drawn) Plotly.react(place, inked(place.data), themed(panel, small), options(small));
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  window.matchMedia("print").addEventListener("change", again);
  // What is folded away has no size to be drawn in.
  document.addEventListener("toggle", (event) => {
    for (const place of event.target.querySelectorAll(".axes")) Plotly.Plots.resize(place);
  }, true);
})();
