"use strict";
// Points of pictures say their exact numbers: under a pointer, at a tap, and to the slider below each picture, which
// keyboards and screen readers know. Without this script each point's <title> is shown by the browser.
(() => {
  const tip = document.getElementById("page-tip");
  const known = new Map(); // picture -> its points
  let shown = null; // the ring around the point that is told

  const readPoints = (svg) => {
    if (known.has(svg)) return known.get(svg);
    const points = [...svg.querySelectorAll(".points title")].map((title) => {
      const box = title.parentNode.getBBox();
      const point = { x: box.x + box.width / 2, y: box.y + box.height / 2, text: title.textContent };
      title.remove(); // or the browser would show it beside ours
      return point;
    });
    const heading = svg.querySelector("title");
    svg.setAttribute("aria-label", heading.textContent);
    svg.removeAttribute("aria-labelledby");
    heading.remove();
    known.set(svg, points);
    return points;
  };

  const hide = () => {
    shown?.remove();
    shown = null;
    tip.hidden = true;
  };

  const show = (svg, point, live) => {
    hide();
    shown = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    const looks = { cx: point.x, cy: point.y, r: 6, fill: "none", stroke: "#d00000", "stroke-width": 2, "pointer-events": "none" };
    for (const [name, value] of Object.entries(looks)) shown.setAttribute(name, value);
    svg.append(shown);
    tip.setAttribute("aria-live", live);
    tip.hidden = false;
    tip.textContent = point.text;
    const ring = shown.getBoundingClientRect();
    const left = Math.min(Math.max(ring.left + ring.width / 2 - tip.offsetWidth / 2, 8), innerWidth - tip.offsetWidth - 8);
    const above = ring.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${above > 8 ? above : ring.bottom + 8}px`;
  };

  const point = (svg, event) => {
    const inverse = svg.getScreenCTM().inverse();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
    let nearest = null;
    let distance = (event.pointerType === "touch" ? 24 : 10) * inverse.a;
    for (const candidate of readPoints(svg)) {
      const far = Math.hypot(candidate.x - at.x, candidate.y - at.y);
      if (far < distance) [nearest, distance] = [candidate, far];
    }
    if (nearest) show(svg, nearest, event.type === "pointermove" ? "off" : "polite");
    else hide();
  };

  for (const svg of document.querySelectorAll("svg[data-points]")) {
    for (const type of ["pointermove", "pointerdown"]) svg.addEventListener(type, (event) => point(svg, event));
    svg.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
    const reader = document.createElement("label");
    reader.className = "reader";
    reader.textContent = `Read its ${svg.dataset.points} point${svg.dataset.points === "1" ? "" : "s"} `;
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 1, max: svg.dataset.points, value: 1 });
    const tell = () => {
      const chosen = readPoints(svg)[slider.value - 1];
      slider.setAttribute("aria-valuetext", chosen.text);
      show(svg, chosen, "off");
    };
    for (const type of ["input", "focus"]) slider.addEventListener(type, tell);
    slider.addEventListener("blur", hide);
    reader.append(slider);
    svg.parentNode.after(reader);
  }
  // A link to what is folded opens it; so does printing.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    for (const part of target?.querySelectorAll(".folded") ?? []) part.open = true;
    for (let part = target?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll(".folded")) part.open = true;
  });
  addEventListener("scroll", hide, { passive: true, capture: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
