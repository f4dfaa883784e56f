// Keeps a page up to date: told by server-sent events that something has changed, it asks for the
// page again and takes over the parts marked data-live that differ. Focus, open details, a field
// that somebody is typing into and the place in a log stay as they are. Hidden pages are not kept
// up to date, for a browser opens only a few lines to one host. No library: this is all of it.
"use strict";
(() => {
  const parts = "[data-live][id]";
  const lost = document.getElementById("lost");
  let source = null, busy = false, again = false;

  const typing = (part) => {
    const at = document.activeElement;
    return part.contains(at) && at.matches("input, select, textarea");
  };

  const focusKey = (part) => {
    const at = document.activeElement;
    if (!at || !part.contains(at)) return null;
    const all = [...part.querySelectorAll(at.localName)];
    return { tag: at.localName, href: at.getAttribute("href"), place: all.indexOf(at) };
  };

  const focusAgain = (part, key) => {
    if (!key) return;
    const all = [...part.querySelectorAll(key.tag)];
    const same = key.href && all.find((one) => one.getAttribute("href") === key.href);
    (same || all[key.place])?.focus({ preventScroll: true });
  };

  const take = (old, fresh) => {
    if (old.innerHTML === fresh.innerHTML || typing(old)) return;
    const open = [...old.querySelectorAll("details[open][id]")].map((one) => one.id);
    const scrolls = [...old.querySelectorAll("pre, .scroll")].map((one) => ({
      top: one.scrollTop, left: one.scrollLeft,
      end: one.scrollTop + one.clientHeight >= one.scrollHeight - 4,
    }));
    const key = focusKey(old);
    old.replaceChildren(...fresh.childNodes);
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    [...old.querySelectorAll("pre, .scroll")].forEach((one, place) => {
      const was = scrolls[place];
      if (one.hasAttribute("data-end") && (!was || was.end)) one.scrollTop = one.scrollHeight;
      else if (was) { one.scrollTop = was.top; one.scrollLeft = was.left; }
    });
    focusAgain(old, key);
  };

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
      if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
      if (answer.status >= 500) throw new Error(`answered with ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelectorAll(parts).forEach((old) => {
        const fresh = page.getElementById(old.id);
        if (fresh) take(old, fresh);
      });
      lost.hidden = true;
      document.documentElement.dataset.seen = String(Date.now());
    } catch {
      lost.hidden = false;
    } finally {
      busy = false;
      if (again) { again = false; setTimeout(refresh, 500); }
    }
  };

  const listen = () => {
    if (source || document.hidden || !document.querySelector(parts) || !document.querySelector("nav")) return;
    source = new EventSource("/live");
    source.addEventListener("change", refresh);
    source.addEventListener("open", () => { lost.hidden = true; });
    source.addEventListener("error", () => { lost.hidden = false; });
  };

  const leave = () => { source?.close(); source = null; };

  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);
  document.querySelectorAll("pre[data-end]").forEach((one) => { one.scrollTop = one.scrollHeight; });
  listen();
  // Ages grow, and a log on a cluster, without any event.
  setInterval(() => { if (!document.hidden && source) refresh(); }, 15000);
})();
