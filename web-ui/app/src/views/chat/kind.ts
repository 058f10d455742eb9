// What a file is offered as. The node decides by its bytes what is shown.

import type { NodeFile } from "../../api/types";

export type Kind = "image" | "video" | "audio" | "other";

export function kindOf(file: NodeFile): Kind {
  return kindOfType(file.media_type);
}

export function kindOfType(mediaType: string): Kind {
  const [kind, sub] = mediaType.split("/");
  if (kind === "image" && sub !== undefined && /^(jpeg|png|gif|webp|avif)$/u.test(sub)) return "image";
  return kind === "video" || kind === "audio" ? kind : "other";
}
