"use strict";
// Makes each chart fit its page, answer to a pointer or the arrow keys, and zoom. Without it the page is complete, and still.

const LEFT = 92, RIGHT = 20, TOP = 34, PLOT = 848, AXIS = 30; // as chart.rs draws
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function grouped(number) {
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, " ");
}

/// The next of 1, 2, 5, 10, 20, 50 and so on.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/// What a pod was doing at this time, and since when; nothing before it was started and after its end.
function phaseOf(pod, at) {
  const end = pod.gone ?? Infinity, terminating = pod.terminating ?? end;
  const left = pod.terminating === null ? end : Math.min(pod.left_endpoints ?? end, end);
  if (at < pod.started || at >= end) return null;
  if (at >= left) return ["draining", left];
  if (at >= terminating) return ["terminating", terminating];
  return pod.ready !== null && at >= pod.ready ? ["ready", pod.ready] : ["starting", pod.started];
}

function interactive(figure) {
  const run = JSON.parse(figure.querySelector("script.data").textContent);
  const frame = figure.querySelector(".plotting"), tip = figure.querySelector(".tip");
  const svg = frame.querySelector("svg.chart"), plot = svg.querySelector("svg.plot"), axis = svg.querySelector(".axis");
  const seconds = Number(svg.dataset.seconds), bottom = Number(svg.dataset.bottom);
  const full = plot.viewBox.baseVal.height, bucket = run.timeline.bucket_seconds;
  const cross = element("path", { class: "cross", visibility: "hidden" });
  const drag = element("rect", { class: "drag", y: TOP, height: bottom - TOP, visibility: "hidden" });
  let from = 0, to = seconds, width = 0, at = null, dragged = null;

  // A browser's own tooltip would lie over ours.
  for (const title of plot.querySelectorAll("title")) {
    title.parentNode.dataset.about = title.textContent;
    title.remove();
  }
  svg.append(cross, drag);
  svg.setAttribute("tabindex", "0");
  figure.classList.add("live");

  const toX = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
  const toTime = (x) => Math.min(to, Math.max(from, from + ((x - LEFT) / (width - LEFT - RIGHT)) * (to - from)));
  // The drawing is as wide as it is shown: one unit is one pixel.
  const xOf = (event) => event.clientX - svg.getBoundingClientRect().left;

  function draw(wide = frame.clientWidth) {
    width = Math.max(wide, 240);
    svg.setAttribute("viewBox", `0 ${TOP} ${width} ${bottom + AXIS - TOP}`);
    plot.setAttribute("width", width - LEFT - RIGHT);
    plot.setAttribute("viewBox", `${(from / seconds) * PLOT} 0 ${((to - from) / seconds) * PLOT} ${full}`);
    const step = roundUp((to - from) / Math.max(2, (width - LEFT - RIGHT) / 110));
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    axis.replaceChildren();
    for (let n = Math.ceil(from / step); n * step <= to + step / 1000; n++) {
      const x = toX(n * step);
      axis.append(element("path", { class: "grid", d: `M${x} ${bottom + 4}v5` }));
      axis.append(element("text", { x, y: bottom + 22, "text-anchor": "middle" }, `${(n * step).toFixed(digits)} s`));
    }
    point(at);
  }

  function zoom(begin, end) {
    const span = Math.min(seconds, Math.max(end - begin, bucket * 5));
    from = Math.min(Math.max(0, (begin + end - span) / 2), seconds - span);
    to = from + span;
    draw();
  }

  function scale(by) {
    const middle = at !== null && at >= from && at <= to ? at : (from + to) / 2;
    zoom(middle - (middle - from) * by, middle + (to - middle) * by);
  }

  function line(text, class_) {
    const made = document.createElement("p");
    made.textContent = text;
    if (class_) made.className = class_;
    return made;
  }

  function point(time, about) {
    at = time;
    const shown = time !== null && time >= from && time <= to;
    tip.hidden = !shown;
    cross.setAttribute("visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    const x = toX(time);
    cross.setAttribute("d", `M${x} ${TOP + 14}V${bottom + 4}`);
    const seen = run.timeline.buckets[Math.floor(time / bucket)];
    const lines = [line(`${time.toFixed(2)} s`)];
    if (about) lines.push(line(about));
    if (seen) {
      lines.push(line(`${grouped(seen.requests / bucket)} requests/s, p99 ${(seen.p99_us / 1000).toPrecision(3)} ms`));
      for (const [kind, lost] of Object.entries(seen.failed_by_client ?? {})) lines.push(line(`${kind}: ${lost} lost`, "some"));
    }
    const phases = run.pods.map((pod) => [pod.name, phaseOf(pod, time)]).filter(([, phase]) => phase);
    if (phases.length) lines.push(line(`${phases.filter(([, phase]) => phase[0] === "ready").length} pods ready`));
    for (const [name, [phase, since]] of phases) {
      if (phase !== "ready") lines.push(line(`${name} ${phase} for ${(time - since).toFixed(2)} s`));
    }
    tip.replaceChildren(...lines);
    const right = x < width / 2;
    tip.style.left = right ? `${x + 12}px` : "auto";
    tip.style.right = right ? "auto" : `${width - x + 12}px`;
  }

  svg.addEventListener("pointermove", (event) => {
    const x = xOf(event);
    point(toTime(x), event.target.dataset?.about);
    if (dragged !== null) {
      drag.setAttribute("visibility", "visible");
      drag.setAttribute("x", Math.min(x, dragged));
      drag.setAttribute("width", Math.abs(x - dragged));
    }
  });
  svg.addEventListener("pointerdown", (event) => {
    point(toTime(xOf(event)), event.target.dataset?.about);
    if (event.pointerType === "mouse" && event.button === 0) {
      dragged = xOf(event);
      svg.setPointerCapture(event.pointerId);
    }
  });
  svg.addEventListener("pointerup", (event) => {
    const begun = dragged, x = xOf(event);
    dragged = null;
    drag.setAttribute("visibility", "hidden");
    if (begun !== null && Math.abs(x - begun) > 8) zoom(toTime(Math.min(x, begun)), toTime(Math.max(x, begun)));
  });
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") point(null); });
  svg.addEventListener("dblclick", () => zoom(0, seconds));
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // Otherwise the page scrolls, as it should.
    event.preventDefault();
    scale(event.deltaY > 0 ? 1.5 : 1 / 1.5);
  }, { passive: false });
  svg.addEventListener("keydown", (event) => {
    const step = (to - from) / 100, here = at ?? (from + to) / 2;
    const keys = {
      ArrowLeft: () => point(Math.max(from, here - step)), ArrowRight: () => point(Math.min(to, here + step)),
      "+": () => scale(0.5), "-": () => scale(2), 0: () => zoom(0, seconds), Escape: () => point(null),
    };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  const buttons = document.createElement("div");
  buttons.className = "zoom";
  for (const [label, name, act] of [["+", "zoom in", () => scale(0.5)], ["−", "zoom out", () => scale(2)], ["all", "the whole run", () => zoom(0, seconds)]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", act);
    buttons.append(button);
  }
  const hint = document.createElement("span");
  hint.textContent = "or drag over a part of the chart; arrow keys move along it";
  buttons.append(hint);
  frame.before(buttons);

  for (const link of figure.parentNode.querySelectorAll("a[data-at]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const time = Number(link.dataset.at);
      const around = Math.min(10, seconds / 6);
      zoom(time - around, time + around);
      point(time);
      figure.scrollIntoView({ behavior: "smooth", block: "center" });
    });
  }
  new ResizeObserver(() => draw()).observe(frame);
  addEventListener("beforeprint", () => { point(null); draw(720); }); // As wide as paper.
  addEventListener("afterprint", () => draw());
  draw();
}

document.querySelectorAll("figure").forEach(interactive);
