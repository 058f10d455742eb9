// A call in the timeline: what became of it, and the way to call back.

import type { Conversation, Message } from "../../api/types";
import { useConversations } from "../../api/queries";
import { t } from "../../i18n";
import { full, time } from "../../i18n/format";
import { calling } from "../../lib/call/session";
import { length } from "../../lib/size";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";

export type CallContent = Extract<Message["content"], { kind: "call" }>;

/** A call in words. */
export function callText(content: CallContent): string {
  const { outgoing, outcome, video, talked_ms: talked } = content;
  const what = video ? t.call.video : t.call.voice;
  switch (outcome) {
    case "answered":
      return talked > 0 ? t.call.row.talked(what, length(talked)) : what;
    case "declined":
      return outgoing ? t.call.row.declinedThere(what) : t.call.row.declinedHere(what);
    case "busy":
      return outgoing ? t.call.row.busyThere(what) : t.call.row.missed(what);
    case "failed":
      return t.call.row.failed(what);
    default:
      return outgoing ? (outcome === "cancelled" ? t.call.row.cancelled(what) : t.call.row.unanswered(what)) : t.call.row.missed(what);
  }
}

export function isMissed(content: CallContent): boolean {
  return !content.outgoing && content.outcome !== "answered" && content.outcome !== "declined";
}

function Back({ conversation, content, tab }: { conversation: Conversation; content: CallContent; tab: number }) {
  const { peer } = conversation;
  if (peer === null || conversation.standing !== "active") return null;
  return (
    <Button
      look="quiet"
      excludeFromTabOrder={tab < 0}
      onPress={() => calling.dial({ conversation: conversation.id, peer, name: conversation.title }, content.video)}
    >
      {isMissed(content) ? t.call.callBack : t.call.callAgain}
    </Button>
  );
}

export function CallRow({ conversation: id, message, content, tab }: { conversation: string; message: Message; content: CallContent; tab: number }) {
  const conversation = useConversations().data?.find((c) => c.id === id);
  const missed = isMissed(content);
  return (
    <div className={`call-row ${missed ? "call-row-missed" : ""}`} title={full(message.at)}>
      <Icon name={content.video ? "camera" : "phone"} size={18} className="shrink-0" />
      <span className="min-w-0">
        <span className="font-medium">{callText(content)}</span>
        <span className="text-xs text-soft"> {time(message.at)}</span>
      </span>
      {conversation === undefined ? null : <Back conversation={conversation} content={content} tab={tab} />}
    </div>
  );
}
