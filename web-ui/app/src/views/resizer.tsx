// The edge between the list and the view: its width by pointer and by keys.

import type { PointerEvent } from "react";
import { t } from "../i18n";
import { clampWidth, LIST_WIDTH_MAX, LIST_WIDTH_MIN } from "../lib/remembered";

export function Resizer({ width, onWidth }: { width: number; onWidth: (px: number) => void }) {
  const drag = (event: PointerEvent<HTMLDivElement>) => {
    if (event.buttons !== 1) return;
    onWidth(clampWidth(event.clientX));
  };
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={t.nav.resize}
      aria-valuemin={LIST_WIDTH_MIN}
      aria-valuemax={LIST_WIDTH_MAX}
      aria-valuenow={width}
      tabIndex={0}
      className="resizer"
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") onWidth(clampWidth(width - 16));
        if (event.key === "ArrowRight") onWidth(clampWidth(width + 16));
      }}
    />
  );
}
