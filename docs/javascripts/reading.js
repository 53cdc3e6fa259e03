// What the theme leaves to do for readers without a mouse: what scrolls sideways can be reached with
// the keyboard, and the row of buttons beside a block of code is no landmark.
const WIDE =
  ".md-typeset__scrollwrap, div.arithmatex, .excerpt .paper, .drawn .frame, div.mermaid, pre[style]";

document$.subscribe(({ body, fonts }) => {
  const known = new Set();
  const measure = (region) => {
    if (region.scrollWidth > region.clientWidth) region.setAttribute("tabindex", "0");
    else region.removeAttribute("tabindex");
  };
  const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => measure(target)));
  const repair = () => {
    for (const buttons of body.querySelectorAll("nav.md-code__nav:not([role])"))
      buttons.setAttribute("role", "presentation");
    for (const region of body.querySelectorAll(WIDE)) {
      if (known.has(region)) continue;
      known.add(region);
      sizes.observe(region);
    }
  };
  new MutationObserver(repair).observe(body, { childList: true, subtree: true });
  fonts.ready.then(() => known.forEach(measure)); // a formula is wider then
  repair();
});
