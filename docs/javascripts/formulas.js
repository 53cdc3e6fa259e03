// Formulas stand on the page as \( … \) and \[ … \]; KaTeX draws them, on every page that is shown.
document$.subscribe(({ body }) => {
  renderMathInElement(body, {
    delimiters: [
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
    // The names of the lecture, so that a page reads as it is spoken.
    macros: {
      "\\T": "^{\\mathsf{T}}",
      "\\pd": "\\frac{\\partial #1}{\\partial #2}",
      "\\mean": "\\left\\langle #1 \\right\\rangle",
    },
    throwOnError: false,
  });
});
