/* The gallery of a model page: one view (replica, method, space) at a time, class by class. */
"use strict";
(() => {
  const root = document.getElementById("gallery");
  if (!root) return;
  const { images, views } = page.data(root);
  const { make } = page;
  const decimal = (value) => (value === null ? "no cosine" : value.toFixed(3));

  function picture(index, alt) {
    if (index === null) return make("div", { class: "no-image", role: "img", "aria-label": `${alt}: no image was kept` }, "no image");
    return make("img", { src: images[index], alt, loading: "lazy", decoding: "async" });
  }

  function neighbour(side, what, closer) {
    const alt = side.id === null ? what : `${what}, training image ${side.id}`;
    const cosine = make("span", closer ? { class: "closer" } : {}, decimal(side.cosine));
    return make("figure", { title: alt }, picture(side.image, alt), make("figcaption", {}, what.replace("nearest ", ""), make("br"), cosine));
  }

  function sample(item, name) {
    const { member, non_member: other } = item;
    const known = member.cosine !== null && other.cosine !== null;
    const alt = `reconstruction ${item.sample ?? ""} of ${name}`;
    const verdict = item.recognised === null ? "" : item.recognised ? "recognised" : "not recognised";
    const caption = make("figcaption", { title: "whether both evaluators give it the target class" }, "reconstruction", make("br"), verdict);
    return make("li", { class: "sample" }, make("div", { class: "triple" },
      make("figure", {}, picture(item.reconstruction, alt), caption),
      neighbour(member, "nearest member", known && member.cosine > other.cosine),
      neighbour(other, "nearest non-member", known && other.cosine > member.cosine)));
  }

  function summary(samples) {
    const known = samples.filter((s) => s.member.cosine !== null && s.non_member.cosine !== null);
    const closer = known.filter((s) => s.member.cosine > s.non_member.cosine).length;
    const judged = samples.filter((s) => s.recognised !== null);
    const parts = [];
    if (judged.length) parts.push(`${judged.filter((s) => s.recognised).length} of ${judged.length} recognised by both evaluators`);
    if (known.length) parts.push(`${closer} of ${known.length} closer to a member`);
    return parts.join(", ");
  }

  const select = make("select", { id: "view" }, ...views.map((view) => make("option", { value: view.id }, view.label)));
  const stated = make("output", { "aria-live": "polite" });
  const body = make("div");

  function draw() {
    const view = views.find((item) => item.id === select.value) ?? views[0];
    const all = view.classes.flatMap((group) => group.samples);
    stated.textContent = `${all.length} reconstructions: ${summary(all)}`;
    body.replaceChildren(...view.classes.map((group) => make("section", { class: "class" },
      make("h3", {}, make("bdi", {}, group.name), " ", make("span", {}, summary(group.samples))),
      make("ul", { class: "samples" }, ...group.samples.map((item) => sample(item, group.name))))));
  }

  function readHash() {
    const wanted = new URLSearchParams(window.location.hash.slice(1)).get("gallery");
    select.value = views.some((view) => view.id === wanted) ? wanted : views[0].id;
    draw();
  }
  select.addEventListener("input", () => {
    history.replaceState(null, "", `#${new URLSearchParams({ gallery: select.value })}`);
    draw();
  });
  window.addEventListener("hashchange", readHash);
  root.append(make("div", { class: "choices" }, make("label", {}, "shown ", select), stated), body);
  readHash();
})();
