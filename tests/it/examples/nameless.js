// Returns every shown control that has no name for those who do not see it (WCAG 2.2, success criterion 4.1.2), or that
// the keyboard does not reach (2.1.1).
const named = (control) =>
  control.labels?.length || control.ariaLabel || control.getAttribute("aria-labelledby") || control.innerText?.trim();
return [...document.querySelectorAll("button, input, select, textarea, progress, a, summary, [tabindex]")]
  // What is skipped until it is scrolled to has no rendered text in Firefox.
  .filter((control) => control.checkVisibility({ contentVisibilityAuto: true }))
  .filter((control) => !named(control) || (control.tabIndex < 0 && control.tagName !== "PROGRESS"))
  .map((control) => control.outerHTML);
