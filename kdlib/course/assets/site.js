(() => {
  const root = document.documentElement;
  const kept = { get: key => { try { return localStorage.getItem(key); } catch { return null; } },
                 set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* not kept then */ } } };
  const chosen = kept.get("theme");
  if (chosen) root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept.set("theme", root.dataset.theme);
  });

  const contents = document.querySelector("details.contents");
  if (contents && matchMedia("(max-width: 60rem)").matches) contents.open = false;

  // What is wider than the page scrolls in its own box; the keyboard must reach it.
  const reach = () => document.querySelectorAll(".scroll, .input pre, .output_area pre, .output_area").forEach(box => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  reach();
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);

  const links = new Map([...document.querySelectorAll(".contents a")].map(link => [decodeURIComponent(link.hash.slice(1)), link]));
  const follow = new IntersectionObserver(entries => entries.forEach(entry => {
    if (!entry.isIntersecting) return;
    links.forEach(link => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "location");
  }), { rootMargin: "0px 0px -75% 0px" });
  links.forEach((link, id) => { const part = document.getElementById(id); if (part) follow.observe(part); });

  // A name inside a folded part is shown when it is asked for.
  const open = () => {
    const part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (part) for (let box = part; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
    if (part) part.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();

  const field = document.getElementById("search"), list = document.getElementById("found");
  if (!field) return;
  const titles = JSON.parse(document.getElementById("titles").textContent);
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length ? titles.filter(([title]) => words.every(word => title.toLowerCase().includes(word))) : [];
    const entries = hits.slice(0, 12).map(([title, address]) => {
      const entry = document.createElement("li"), link = document.createElement("a");
      link.textContent = title;
      link.href = address;
      entry.append(link);
      return entry;
    });
    if (words.length && !entries.length) {
      const entry = document.createElement("li");
      entry.textContent = "No title has these words.";
      entries.push(entry);
    }
    list.replaceChildren(...entries);
    list.hidden = !entries.length;
  };
  field.addEventListener("input", show);
  field.addEventListener("keydown", event => {
    const first = list.querySelector("a");
    if (event.key === "Enter" && first) first.click();
    if (event.key === "Escape") { field.value = ""; show(); }
  });
  list.addEventListener("click", () => { field.value = ""; list.hidden = true; });
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || event.target.matches("input, textarea")) return;
    event.preventDefault();
    field.focus();
  });
})();
