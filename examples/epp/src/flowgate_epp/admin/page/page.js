"use strict";
// Every text goes in by textContent: clients choose flows, models and request ids.

const HISTORY = 480; // pictures: two minutes at four a second
const SLOTS = 28;
const RETRY = 1000; // milliseconds

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const count = (number) => whole.format(number);
const percent = (share) => `${Math.round(100 * share)} %`;
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) { number /= 1000; unit += 1; }
  return `${unit && number < 10 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

function seconds(number) {
  if (number < 0.0005) return "0 s";
  if (number < 0.9995) return `${Math.round(1000 * number)} ms`;
  if (number < 59.95) return `${number.toFixed(1)} s`;
  const rounded = Math.round(number);
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`;
}

function fill(bar, share) {
  bar.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
}

// Make, keep and order one child for each thing, so that what stays is not drawn anew.
function each(parent, things, keyOf, create, update) {
  const kept = new Map();
  for (const child of parent.children) kept.set(child.dataset.key, child);
  let place = parent.firstElementChild;
  for (const thing of things) {
    const key = String(keyOf(thing));
    let child = kept.get(key);
    kept.delete(key);
    if (!child) {
      child = create();
      child.dataset.key = key;
    }
    update(child, thing);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of kept.values()) child.remove();
}

// -- tiles

let past = [];

function drawHistory(queued) {
  past.push(queued);
  if (past.length > HISTORY) past.shift();
  const most = Math.max(1, ...past);
  const step = 240 / Math.max(1, past.length - 1);
  const points = past.map((value, n) => `${(n * step).toFixed(1)},${(53 - (50 * value) / most).toFixed(1)}`);
  const line = `M${points.join("L")}`;
  byId("history-line").setAttribute("d", line);
  byId("history-area").setAttribute("d", `${line}L240,56L0,56Z`);
  const peak = Math.max(...past);
  byId("history").setAttribute("aria-label", `Waiting: ${queued} now, at most ${peak} while this page watched`);
  say(byId("history-note"), `at most ${count(peak)}`);
}

function drawTiles(picture) {
  say(byId("pool"), picture.pool === "default" ? "" : picture.pool);
  say(byId("queued"), count(picture.queued));
  const room = picture.max_requests === null ? "" : `, room for ${count(picture.max_requests)}`;
  say(byId("queued-bytes"), `${bytes(picture.queued_bytes)}${room}`);
  say(byId("in-flight"), count(picture.in_flight));
  say(byId("pod-count"), count(picture.pod_count));
  const open = picture.pods.filter((pod) => pod.is_open).length;
  say(byId("open-pods"), picture.pods.length ? `${count(open)} of ${count(picture.pods.length)} open` : "none yet");
  say(byId("saturation"), percent(picture.saturation));
  fill(byId("saturation-bar"), picture.saturation);
  byId("saturation-bar").classList.toggle("full", picture.saturation >= 1);
  say(byId("admitted"), count(picture.outcomes.dispatched || 0));
  say(byId("refused"), count(picture.dropped));
  say(byId("refusals"), picture.drops.map((drop) => `${drop.reason} ${count(drop.count)}`).join(", ") || "none");
  drawHistory(picture.queued);
}

// -- bands and flows

function makeBand() {
  const band = make("article", "band");
  const line = make("div", "line");
  line.append(make("h3", "title"), make("span", "small total"));
  band.append(line, make("div", "flows"));
  return band;
}

function makeFlow() {
  const flow = make("div", "flow");
  const track = make("div", "track");
  track.append(make("div", "fill"));
  flow.append(make("span", "name"), track, make("span", "count"));
  return flow;
}

function drawFlow(node, flow, most) {
  const name = flow.model ? `${flow.flow} · ${flow.model}` : flow.flow;
  node.classList.toggle("rest", Boolean(flow.rest));
  const label = node.querySelector(".name");
  say(label, name);
  label.title = name;
  fill(node.querySelector(".fill"), flow.queued / most);
  say(node.querySelector(".count"), count(flow.queued));
}

function drawBand(node, band, most) {
  say(node.querySelector("h3"), band.name ? `${band.name} (priority ${band.priority})` : `Priority ${band.priority}`);
  const room = band.max_requests === null ? "" : ` of ${count(band.max_requests)}`;
  say(node.querySelector(".total"), `${count(band.queued)}${room} waiting, ${count(band.in_flight)} at pods`);
  const flows = [...band.flows];
  if (band.more_flows_queued > 0) {
    flows.push({ rest: true, flow: band.more_flows ? plural(band.more_flows, "more flow") : "others", queued: band.more_flows_queued });
  }
  const key = (flow) => JSON.stringify([flow.rest || false, flow.rest ? "" : flow.flow, flow.model || ""]);
  each(node.querySelector(".flows"), flows, key, makeFlow, (child, flow) => drawFlow(child, flow, most));
}

function drawBands(picture) {
  const longest = picture.bands.flatMap((band) => band.flows.map((flow) => flow.queued));
  const most = Math.max(1, ...longest);
  each(byId("bands"), picture.bands, (band) => band.priority, makeBand, (node, band) => drawBand(node, band, most));
  say(byId("more-bands"), picture.more_bands ? `${plural(picture.more_bands, "more band")}, ${count(picture.more_bands_queued)} waiting` : "");
}

// -- pods

function makePod() {
  const pod = make("article", "pod");
  const line = make("div", "line");
  line.append(make("h3", "title"), make("span", "state"));
  const track = make("div", "track");
  track.append(make("div", "fill"));
  pod.append(line, make("p", "small endpoint"), track, make("div", "slots"), make("p", "small load"), make("p", "small told"));
  return pod;
}

function drawSlots(node, held) {
  const squares = Math.min(held, SLOTS);
  while (node.querySelectorAll("i").length > squares) node.querySelector("i").remove();
  while (node.querySelectorAll("i").length < squares) node.prepend(make("i", ""));
  let more = node.querySelector("span");
  if (!more) {
    more = make("span", "");
    node.append(more);
  }
  say(more, held > squares ? `+${count(held - squares)}` : "");
}

function drawPod(node, pod) {
  say(node.querySelector("h3"), pod.name);
  say(node.querySelector(".state"), pod.is_open ? "open" : "full");
  say(node.querySelector(".endpoint"), pod.endpoint);
  node.classList.toggle("full", !pod.is_open);
  const bar = node.querySelector(".fill");
  fill(bar, pod.saturation);
  bar.classList.toggle("full", !pod.is_open);
  drawSlots(node.querySelector(".slots"), pod.in_flight);
  say(node.querySelector(".load"), `${count(pod.in_flight)} here, ${percent(pod.saturation)} full`);
  const told = pod.age === null
    ? "says nothing of itself"
    : `says ${count(pod.running)} running, ${count(pod.waiting)} waiting, ${percent(pod.kv_cache_usage)} cache, ${seconds(pod.age)} ago`;
  say(node.querySelector(".told"), told);
}

function drawPods(picture) {
  byId("no-pods").hidden = picture.pod_count > 0;
  each(byId("pods"), picture.pods, (pod) => `${pod.namespace}/${pod.name} ${pod.endpoint}`, makePod, drawPod);
  const more = picture.pod_count - picture.pods.length;
  say(byId("more-pods"), more ? plural(more, "more pod") : "");
}

// -- decisions

function makeDecision() {
  const row = make("tr", "");
  for (const name of ["at", "request", "flow-id", "figure band-id", "model", "outcome", "figure wait", "where"]) row.append(make("td", name));
  return row;
}

function drawDecision(row, decision) {
  if (row.dataset.drawn) return; // what was decided stays
  row.dataset.drawn = "yes";
  const went = decision.status === 200;
  row.className = went ? "went" : "refused";
  const outcome = went ? "went" : `${decision.status} ${decision.reason || decision.outcome.replaceAll("_", " ")}`;
  const at = new Date(1000 * decision.arrived_at).toLocaleTimeString("en-GB");
  const texts = [at, decision.request_id, decision.flow, String(decision.priority), decision.model, outcome, seconds(decision.queue_wait), decision.pod || ""];
  texts.forEach((text, n) => {
    row.cells[n].textContent = text;
    row.cells[n].title = text;
  });
  const ask = make("button", "ask", decision.request_id);
  ask.addEventListener("click", () => explain(decision.request_id));
  row.cells[1].replaceChildren(ask);
}

function drawDecisions(picture) {
  byId("no-decisions").hidden = picture.decisions.length > 0;
  each(byId("decisions"), picture.decisions, (decision) => decision.number, makeDecision, drawDecision);
}

// -- why

let asked = 0;

async function explain(id) {
  const turn = ++asked;
  byId("why-id").value = id;
  let text;
  try {
    const answer = await fetch(`explain?request_id=${encodeURIComponent(id)}`);
    const told = await answer.json();
    text = answer.ok ? told.explanations.map((explanation) => explanation.text).join("\n\n") : told.error;
  } catch {
    text = "The program does not answer.";
  }
  if (turn !== asked) return; // somebody asked for another one meanwhile
  say(byId("explanation"), text);
  byId("explanation").hidden = false;
  byId("explanation").scrollIntoView({ block: "nearest" });
}

byId("why").addEventListener("submit", (event) => {
  event.preventDefault();
  explain(byId("why-id").value.trim());
});

// -- the connection

let run = null;

function link(state, text) {
  say(byId("link"), text);
  byId("link").className = `badge ${state}`;
  document.body.classList.toggle("stale", state !== "good");
}

function draw(picture) {
  if (run !== picture.run) {
    run = picture.run; // the program was started anew: its past is not this one's
    past = [];
    byId("decisions").replaceChildren();
  }
  const ready = byId("ready");
  say(ready, picture.ready ? "ready" : `not ready: ${picture.reasons.join("; ")}`);
  ready.className = `badge ${picture.ready ? "good" : "bad"}`;
  drawTiles(picture);
  drawBands(picture);
  drawPods(picture);
  drawDecisions(picture);
  document.title = picture.queued ? `(${count(picture.queued)}) flowgate` : "flowgate";
  link("good", `live, up ${seconds(picture.time - picture.since)}`);
}

function connect() {
  const events = new EventSource("events");
  events.onmessage = (event) => draw(JSON.parse(event.data));
  events.onerror = () => {
    link("", "reconnecting");
    if (events.readyState === EventSource.CLOSED) { // told to go away: that it does not try again after
      events.close();
      setTimeout(connect, RETRY);
    }
  };
}

connect();
