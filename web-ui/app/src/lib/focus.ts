// Where the focus goes when the thing that had it is gone.

/** How long a row may take to disappear after its action, in frames. */
const FRAMES_MAX = 90;

/** After an action that removes its own control: on to the view, unless something else takes the focus. */
export function keepFocus() {
  let frames = 0;
  const look = () => {
    const active = document.activeElement;
    // The first frames belong to dialogs that give their focus back.
    if (frames > 2 && (active === null || active === document.body)) {
      document.getElementById("main")?.focus({ preventScroll: true });
      return;
    }
    frames += 1;
    if (frames < FRAMES_MAX) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
