// What was seen becomes what was read.

import { useCallback, useRef } from "react";
import { showRead } from "../../api/apply";
import { api } from "../../api/client";
import type { Conversation } from "../../api/types";

/** Tells the node what was seen, once per new position. */
export function useReadMark(conversation: Conversation) {
  const sent = useRef(0);
  const { id, unread, read_position: read } = conversation;
  return useCallback(
    (position: number, isLast: boolean) => {
      if (document.visibilityState !== "visible" || !document.hasFocus()) return;
      if (position <= read || position <= sent.current) return;
      sent.current = position;
      const left = isLast ? 0 : Math.min(unread, Math.max(1, unread - (position - read)));
      showRead(id, position, left);
      api.post(`/conversations/${id}/read`, { position }).catch(() => {
        sent.current = 0;
      });
    },
    [id, read, unread],
  );
}
