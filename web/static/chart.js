// Draws the candles of an instrument from the JSON that its figure points to, and moves the last one with each trade.
(() => {
  "use strict";
  const drawn = new WeakMap();
  const FEW = 40; // fewer candles keep their width instead of filling the chart
  const SHANGHAI = 8 * 3600; // the chart shows UTC, the market lives in Shanghai's time

  // The library comes only when there are candles to draw.
  let library = null;
  function loaded(address) {
    library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = address;
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
      document.head.append(script);
    });
    return library;
  }

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const probe = document.createElement("span");
    document.body.append(probe);
    const read = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const found = { up: read("--sf-up"), down: read("--sf-down"), ink: read("--sf-quiet"), line: read("--sf-line") };
    probe.remove();
    return { ...found, font: style.fontFamily };
  }

  function options() {
    const { up, down, ink, line } = colours();
    return {
      chart: {
        autoSize: true,
        layout: { background: { type: "solid", color: "transparent" }, textColor: ink, attributionLogo: false },
        grid: { vertLines: { visible: false }, horzLines: { color: line } },
        rightPriceScale: { borderColor: line },
        timeScale: { borderColor: line, timeVisible: true, secondsVisible: false, barSpacing: 10, rightOffset: 4 },
        localization: { locale: document.documentElement.lang },
      },
      series: { upColor: up, wickUpColor: up, borderUpColor: up, downColor: down, wickDownColor: down, borderDownColor: down },
    };
  }

  async function draw(figure) {
    if (drawn.has(figure)) return;
    drawn.set(figure, null);
    const answer = await fetch(figure.dataset.candles, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const candles = await answer.json();
    await loaded(figure.dataset.library);
    const { chart, series } = options();
    const made = LightweightCharts.createChart(figure, chart);
    const scale = Number(figure.dataset.scale);
    const drawnSeries = made.addSeries(LightweightCharts.CandlestickSeries, series);
    const bars = candles.map(([time, open, high, low, close]) => ({
      time: time + SHANGHAI, open: open / scale, high: high / scale, low: low / scale, close: close / scale,
    }));
    drawnSeries.setData(bars);
    if (bars.length > FEW) made.timeScale().fitContent();
    drawn.set(figure, { chart: made, series: drawnSeries, last: bars.at(-1), seen: 0, scale });
  }

  function trade(state, width, [id, at, price]) {
    if (id <= state.seen) return;
    state.seen = id;
    const value = price / state.scale;
    const time = Math.floor((at + SHANGHAI) / width) * width;
    const last = state.last;
    if (last && time < last.time) return;
    state.last = last && last.time === time
      ? { ...last, high: Math.max(last.high, value), low: Math.min(last.low, value), close: value }
      : { time, open: value, high: value, low: value, close: value };
    state.series.update(state.last);
  }

  const figures = () => document.querySelectorAll("figure[data-candles]");
  const drawAll = () => figures().forEach(draw);

  function repaint() {
    const { chart, series } = options();
    for (const figure of figures()) {
      drawn.get(figure)?.chart.applyOptions(chart);
      drawn.get(figure)?.series.applyOptions(series);
    }
  }

  document.addEventListener("prints", (event) => {
    for (const figure of figures()) {
      const state = drawn.get(figure);
      if (!state) continue;
      for (const print of JSON.parse(event.detail.data)) trade(state, Number(figure.dataset.seconds), print);
    }
  });
  document.addEventListener("htmx:after:swap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  drawAll();
})();
