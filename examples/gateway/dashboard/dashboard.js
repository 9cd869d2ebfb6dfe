"use strict";
// Draws what /events sends. Text from outside only ever becomes text, never markup.

const $ = (id) => document.getElementById(id);
const HISTORY = 240; // two minutes at two snapshots per second
const history = [];
const seen = new Map(); // endpoint and incarnation -> picks at the last snapshot
const rates = []; // picks per second of the last snapshots
let at = null;

/** An element with classes, text and children. */
function el(tag, { cls, text, title } = {}, ...children) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  if (title) node.title = title;
  node.append(...children);
  return node;
}

const count = (value) => (value ?? 0).toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(share === 1 ? 0 : 1)} %`;

function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function speed(perSecond) {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} M/s`;
  if (perSecond >= 1e3) return `${(perSecond / 1e3).toFixed(1)} k/s`;
  return `${perSecond.toFixed(0)}/s`;
}

function bar(share, cls = "") {
  const fill = el("i");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return el("div", { cls: `bar ${cls}` }, fill);
}

/** Replaces the children of a list but keeps the ones whose key stays, so that bars can glide. */
function keyed(list, items, key, draw) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const next = items.map((item) => {
    const node = draw(item, old.get(key(item)));
    node.dataset.key = key(item);
    return node;
  });
  const same = next.length === list.children.length && next.every((node, i) => node === list.children[i]);
  if (!same) list.replaceChildren(...next);
}

/** Picks per second over the last three seconds. Endpoints come and go: each counts for itself. */
function rate(endpoints, uptime) {
  let picks = 0;
  for (const e of endpoints) {
    const key = `${e.id}@${e.incarnation}`;
    if (at !== null) picks += Math.max(0, e.picks_total - (seen.get(key) ?? 0));
    seen.set(key, e.picks_total);
  }
  if (at !== null && uptime > at) rates.push(picks / (uptime - at));
  at = uptime;
  if (rates.length > 6) rates.shift();
  return rates.length ? rates.reduce((sum, one) => sum + one, 0) / rates.length : 0;
}

function tiles(now) {
  const endpoints = now.pool?.endpoints ?? [];
  const draining = endpoints.filter((e) => e.draining).length;
  const inFlight = endpoints.reduce((sum, e) => sum + e.in_flight, 0);
  const picks = endpoints.reduce((sum, e) => sum + e.picks_total, 0);
  $("instances").textContent = endpoints.length;
  $("instances-note").textContent = draining ? `${draining} draining` : now.scaling ? `desired ${now.scaling.desired}` : "";
  $("in-flight").textContent = count(inFlight);
  const perSecond = rate(endpoints, now.uptime_seconds ?? 0);
  $("rate").textContent = perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond));
  $("picks-note").textContent = `${count(picks)} in all, by those who are here`;
  $("policy").textContent = now.pool?.policy ?? "–";
  $("uptime").textContent = duration(now.uptime_seconds ?? 0);
  history.push([inFlight, endpoints.length]);
  if (history.length > HISTORY) history.shift();
}

function cacheTile(cache) {
  const asked = cache ? cache.hits + cache.misses : 0;
  $("hit-rate").textContent = asked ? percent(cache.hits / asked) : "–";
  $("cache-note").textContent = cache ? `hits ${count(cache.hits)}, misses ${count(cache.misses)}` : "no cache here";
}

function chart() {
  const top = Math.max(6, ...history.map(([a, b]) => Math.max(a, b))) * 1.1;
  const width = Math.max(40, history.length) - 1;
  const x = (i) => 960 - (history.length - 1 - i) * (960 / width);
  const line = (k) => history.map((point, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${(148 - (point[k] / top) * 144).toFixed(1)}`).join("");
  $("line-a").setAttribute("d", line(0));
  $("line-b").setAttribute("d", line(1));
  $("area").setAttribute("d", `${line(0)}L960 150L${x(0).toFixed(1)} 150Z`);
}

/** Why an endpoint takes nothing new, in words. */
const REASONS = {
  draining: "takes nothing new, finishes what it has",
  unhealthy: "not ready",
  ejected: "its own requests failed, back in a while",
  disabled: "switched off by an operator",
  removed: "no longer a member",
};

function endpointNote(e, panicking) {
  const notes = (e.reasons ?? []).map((reason) => REASONS[reason] ?? String(reason));
  if (notes.length && panicking) notes.push("used all the same: too few are well");
  const gpu = e.report?.utilization?.gpu;
  if (gpu != null) notes.push(`GPU ${percent(gpu)}`);
  return notes.join(" · ");
}

function endpoints(pool) {
  const all = pool?.endpoints ?? [];
  const most = Math.max(4, ...all.map((e) => e.in_flight));
  keyed($("endpoints"), all, (e) => e.id, (e, old) => {
    const state = e.draining ? "draining" : String(e.state ?? "active");
    if (old) {
      const [, stateCell, weight, load, picks] = old.children;
      stateCell.firstChild.className = `pill ${state}`;
      stateCell.firstChild.textContent = state;
      stateCell.lastChild.textContent = endpointNote(e, pool.panicking);
      weight.textContent = e.weight;
      load.firstChild.firstChild.firstChild.style.width = `${(100 * e.in_flight) / most}%`;
      load.firstChild.lastChild.textContent = e.in_flight;
      picks.textContent = count(e.picks_total);
      return old;
    }
    const id = el("td", { text: e.id }, ...(e.uri === e.id ? [] : [el("span", { cls: "uri", text: e.uri })]));
    return el("tr", {}, id,
      el("td", {}, el("span", { cls: `pill ${state}`, text: state }), el("span", { cls: "uri", text: endpointNote(e, pool.panicking) })),
      el("td", { cls: "num", text: e.weight }),
      el("td", {}, el("div", { cls: "load" }, bar(e.in_flight / most), el("span", { text: e.in_flight }))),
      el("td", { cls: "num", text: count(e.picks_total) }));
  });
}

function jobLine(job) {
  const parts = [];
  if (job.instance) parts.push(job.instance);
  if (job.attempt > 1) parts.push(`attempt ${job.attempt}`);
  if (job.status === "running" && job.iterations_per_second) parts.push(speed(job.iterations_per_second));
  if (job.status === "running" && job.eta_seconds != null) parts.push(`${duration(job.eta_seconds)} left`);
  for (const [name, key] of [["mean", "mean"], ["±", "std_dev"]]) {
    const value = job.result?.[key];
    if (typeof value === "number") parts.push(`${name} ${value.toPrecision(6)}`);
  }
  if (job.error) parts.push(job.error);
  return parts.join(" · ");
}

/** The distribution of a result as a small picture. */
function histogram(counts) {
  const ns = "http://www.w3.org/2000/svg";
  const most = Math.max(1, ...counts);
  const bars = counts.map((n, i) => `M${i} 20V${(20 - (20 * n) / most).toFixed(2)}h.9V20z`).join("");
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("class", "hist");
  svg.setAttribute("viewBox", `0 0 ${counts.length} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "histogram of the result");
  svg.append(document.createElementNS(ns, "path"));
  svg.firstChild.setAttribute("d", bars);
  return svg;
}

function jobs(all) {
  $("jobs-card").hidden = !all;
  if (!all) return;
  $("active").textContent = count(all.active);
  const again = all.newest.filter((job) => job.attempt > 1).length;
  $("active-note").textContent = again ? `${again} of the newest replayed` : "";
  const over = (job) => !["queued", "running"].includes(job.status);
  const shown = [...all.newest].sort((a, b) => over(a) - over(b));
  keyed($("jobs"), shown, (job) => job.id, (job, old) => {
    const node = old ?? el("li", {}, el("div", { cls: "row" }, el("b", { text: job.id }), el("span"), el("span", { cls: "end" })), bar(0));
    const [row, meter] = node.children;
    row.children[1].className = `pill ${job.status}`;
    row.children[1].textContent = job.status === "running" ? `${job.percent.toFixed(0)} %` : job.status;
    row.children[2].textContent = jobLine(job);
    meter.className = `bar ${job.status}`;
    meter.firstChild.style.width = `${job.percent}%`;
    const counts = job.result?.histogram?.counts;
    const last = row.children[3];
    if (over(job) && last?.tagName === "BUTTON") last.remove();
    if (!row.children[3] && !over(job)) row.append(cancelButton(job.id));
    if (!row.children[3] && counts?.length) row.append(histogram(counts));
    return node;
  });
  if (!all.newest.length) $("jobs").replaceChildren(el("li", { cls: "none", text: "none yet" }));
}

function cancelButton(id) {
  const button = el("button", { text: "cancel" });
  button.type = "button";
  button.addEventListener("click", () => fetch(`/simulations/${id}`, { method: "DELETE" }));
  return button;
}

/** The reason, and who had to go. */
function why(decision) {
  return decision.victims?.length ? `${decision.why} (leaving: ${decision.victims.join(", ")})` : decision.why;
}

/** When it was, as a link to the page that explains it step by step. */
function explained(decision) {
  const at = new Date(decision.at);
  const link = el("a", { text: at.toLocaleTimeString([], { hour12: false }), title: "step by step" });
  link.href = `/enterprise/scaling/auto-scaling?at=${at.getTime()}`;
  return el("time", {}, link);
}

function scaling(now) {
  $("scaling-card").hidden = !now;
  if (!now) return;
  $("scaling-note").textContent = `${now.min} to ${now.max} instances, now ${now.current}`;
  keyed($("decisions"), [...now.decisions].reverse(), (d) => `${d.at}`, (d, old) => old ?? el("li",
    { cls: d.desired > d.current ? "up" : d.desired < d.current ? "down" : "" },
    explained(d),
    el("b", { text: `${d.current} → ${d.desired}` }),
    el("p", { text: why(d) })));
  if (!now.decisions.length) $("decisions").replaceChildren(el("li", { cls: "none", text: "none yet" }));
}

function facts(now) {
  const rows = [];
  if (now.cache) {
    rows.push(["results kept", count(now.cache.entries)], ["hits", count(now.cache.hits)],
      ["misses", count(now.cache.misses)], ["loads", count(now.cache.loads)]);
  }
  if (now.gpu?.absence) rows.push(["GPU", now.gpu.absence]);
  for (const gpu of now.gpu?.devices ?? []) {
    const busy = gpu.busy == null ? "unknown" : percent(gpu.busy);
    const verdict = gpu.cause ? `${gpu.verdict}: ${gpu.cause}` : gpu.verdict;
    rows.push([gpu.id, gpu.present ? `busy ${busy}, ${verdict}` : verdict]);
  }
  if (now.registry) rows.push(["registry", `${now.registry.uri}, revision ${now.registry.revision}`]);
  $("facts").replaceChildren(...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
}

function draw(now) {
  tiles(now);
  cacheTile(now.cache);
  chart();
  endpoints(now.pool);
  jobs(now.jobs);
  scaling(now.scaling);
  facts(now);
}

function watch() {
  const source = new EventSource("/events");
  const live = (cls, text) => { $("live").className = `pill ${cls}`; $("live").textContent = text; };
  source.onopen = () => live("on", "live");
  source.onerror = () => live("off", "reconnecting");
  source.onmessage = (event) => draw(JSON.parse(event.data));
}

async function run() {
  const spec = {
    inputs: {
      price: { distribution: "lognormal", mu: 4, sigma: 0.25 },
      volume: { distribution: "triangular", min: 50, mode: 80, max: 140 },
      cost: { distribution: "normal", mean: 1800, std_dev: 250 },
    },
    formula: "price * volume - cost",
    iterations: Number($("size").value),
    seed: Math.floor(Math.random() * 2 ** 31),
  };
  const id = `page-${Date.now().toString(36)}`;
  const answer = await fetch(`/simulations/${id}`, {
    method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(spec),
  });
  const problem = answer.ok ? null : await answer.json();
  $("refused").hidden = answer.ok;
  $("refused").textContent = problem ? `${problem.error}: ${problem.hint}` : "";
}

$("run").addEventListener("click", run);
watch();
