// Where the focus goes when the thing that had it is gone.

/** After an action that removed its own control: on to the view, if nothing else took the focus. */
export function keepFocus() {
  // Two frames: dialogs give their focus back in the first.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const active = document.activeElement;
      if (active === null || active === document.body) document.getElementById("main")?.focus({ preventScroll: true });
    }),
  );
}
