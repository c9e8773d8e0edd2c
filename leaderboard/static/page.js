/* What both kinds of page share: tooltips, colours of the theme, redrawing when the theme changes. */
"use strict";
window.page = (() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  document.body.append(tip);
  let owner = null;

  function hide() {
    if (owner) owner.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  }

  function place() {
    tip.style.left = tip.style.top = "0";
    const box = owner.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, box.left), width - tip.offsetWidth - 8);
    const below = box.bottom + 6 + tip.offsetHeight < window.innerHeight;
    const top = below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6);
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${top + window.scrollY}px`;
  }

  function show(element) {
    if (owner === element) return;
    hide();
    owner = element;
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    element.setAttribute("aria-describedby", "tip");
    place();
  }

  function onEnter(event) {
    const element = event.target instanceof Element && event.target.closest("[data-tip]");
    if (element) show(element);
    else if (event.type === "mouseover" && owner !== document.activeElement) hide();
  }
  document.addEventListener("mouseover", onEnter);
  document.addEventListener("focusin", onEnter);
  document.addEventListener("click", onEnter);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  /* Focus scrolls its element into view: its tip moves along. Otherwise scrolling ends a tip. */
  document.addEventListener("scroll", () => { if (owner && owner === document.activeElement) place(); else hide(); }, { capture: true, passive: true });

  /* Paper is white and cannot be unfolded: a page is light and open while it is printed. */
  const redraws = [];
  const redraw = () => redraws.forEach((draw) => draw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let opened = [];
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    opened = [...document.querySelectorAll("details:not([open], .columns)")];
    for (const element of opened) element.open = true;
    redraw();
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    for (const element of opened) element.open = false;
    redraw();
  });

  return {
    colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
    onTheme: (draw) => redraws.push(draw),
    data: (parent) => JSON.parse(parent.querySelector('script[type="application/json"]').textContent),
    make(tag, attributes = {}, ...children) {
      const element = document.createElement(tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.append(...children);
      return element;
    },
  };
})();
