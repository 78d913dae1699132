// Charts drawn by hand: small SVG elements, no library.

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return `${Number((value / (unit === 1e4 ? 1e3 : unit)).toPrecision(3))} ${name}`;
  }
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

// A line with its area; points are [time, value] in the order of time.
export function sparkline(points, floor) {
  const chart = svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length === 0) return chart;
  const values = points.map((point) => point[1]);
  let low = Math.min(...values, ...(floor ?? [])), high = Math.max(...values, ...(floor ?? []));
  if (low === high) { low -= 1; high += 1; }
  const first = points[0][0], span = points[points.length - 1][0] - first || 1;
  const at = (point) => [
    points.length === 1 ? 100 : ((point[0] - first) / span) * 100,
    37 - ((point[1] - low) / (high - low)) * 34,
  ].map((number) => number.toFixed(2)).join(" ");
  const path = points.length === 1 ? `M0 ${at(points[0]).split(" ")[1]} L${at(points[0])}` : `M${points.map(at).join(" L")}`;
  chart.append(svg("path", { class: "area", d: `${path} L100 40 L0 40 Z` }), svg("path", { class: "line", d: path }));
  return chart;
}

// Bars of requests a slice of time, failed ones on top, behind them the times of trouble.
export function activity(buckets, spans, now, seconds, slices) {
  const width = 1000, height = 56, step = width / slices, length = seconds / slices;
  // slices begin at whole multiples, so that bars do not change as they move
  const end = Math.ceil(now / length) * length, begin = end - seconds;
  const sums = Array.from({ length: slices }, () => [0, 0]);
  for (const [second, good, bad] of buckets) {
    const index = Math.floor((second - begin) / length);
    if (index >= 0 && index < slices) { sums[index][0] += good; sums[index][1] += bad; }
  }
  const most = Math.max(4, ...sums.map(([good, bad]) => good + bad));
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  const x = (time) => ((Math.min(Math.max(time, begin), end) - begin) / seconds) * width;
  for (const [from, to] of spans) {
    const left = x(from), right = x(to ?? now);
    if (right > left) chart.append(svg("rect", { class: "band", x: left, y: 0, width: Math.max(right - left, 2), height }));
  }
  chart.append(svg("line", { class: "base", x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }));
  const scale = (count) => (count / most) * (height - 4);
  sums.forEach(([good, bad], index) => {
    const left = index * step + step * 0.14, wide = step * 0.72;
    if (good) chart.append(svg("rect", { class: "bar-ok", x: left, width: wide, y: height - scale(good), height: scale(good) }));
    if (bad) chart.append(svg("rect", { class: "bar-bad", x: left, width: wide, y: height - scale(good) - scale(bad), height: scale(bad) }));
  });
  const total = sums.reduce((sum, [good, bad]) => [sum[0] + good, sum[1] + bad], [0, 0]);
  chart.setAttribute("aria-label", `${total[0]} requests answered, ${total[1]} failed in the last ${Math.round(seconds / 60)} minutes`);
  return chart;
}
