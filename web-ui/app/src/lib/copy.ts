// Into the clipboard, and a word about it.

import { t } from "../i18n";
import { toast } from "../ui/toasts";

/** True when the text is in the clipboard. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    toast.info(t.app.copied);
    return true;
  } catch {
    toast.refusal(t.error.clipboard);
    return false;
  }
}
