// Older and newer pages of a timeline, asked for while its edges are near.

import { useEffect } from "react";
import { sentence } from "../../api/client";
import { loadMore, paging } from "../../api/paging";
import { useValueOf } from "../../api/store";
import { toast } from "../../ui/toasts";

/** Loads while wanted. Answers whether a page is on its way. */
export function usePages(id: string, wantBefore: boolean, wantAfter: boolean): boolean {
  const state = useValueOf(paging, id);
  const direction = wantBefore ? "before" : wantAfter ? "after" : null;
  useEffect(() => {
    if (state !== "idle" || direction === null) return;
    loadMore(id, direction).catch((error: unknown) => toast.refusal(sentence(error)));
  }, [direction, id, state]);
  return state === "busy";
}
