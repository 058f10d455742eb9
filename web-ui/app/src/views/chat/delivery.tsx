// What happened to a message: the button with its picture, and behind it every
// relay and every device, as sentences.

import { Button as AriaButton, Dialog, DialogTrigger, Popover } from "react-aria-components";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api, sentence } from "../../api/client";
import { useDelivery } from "../../api/queries";
import type { Delivery, Message } from "../../api/types";
import { t } from "../../i18n";
import { dayAndTime, until } from "../../i18n/format";
import { useNow } from "../../lib/hooks";
import { clean } from "../../lib/text";
import { Button, Copyable } from "../../ui/button";
import { Tick } from "../../ui/tick";

function technical(message: Message, delivery: Delivery): string {
  return JSON.stringify({ event: message.id, position: message.position, ...delivery }, null, 2);
}

/** Several devices of one person are told apart by the start of their ids. */
function deviceLine(delivery: Delivery, index: number, now: number): { text: string; detail: string | null } {
  const device = delivery.devices[index];
  if (device === undefined) return { text: "", detail: null };
  const text = t.delivery.device[device.state](clean(device.name));
  const several = delivery.devices.filter((d) => d.account === device.account).length > 1;
  return {
    text: device.at === null ? text : t.delivery.at(text, dayAndTime(device.at, now)),
    detail: several ? t.delivery.deviceId(device.device.slice(0, 8)) : null,
  };
}

type DetailsProps = { conversation: string; message: Message; summary: string | null };

function DeliveryDetails({ conversation, message, summary }: DetailsProps) {
  const now = useNow();
  const query = useDelivery(conversation, message.id);
  const retry = useAction(() => api.post(`/conversations/${conversation}/messages/${message.id}/retry`), {
    refresh: [keys.delivery(conversation, message.id)],
  });
  const delivery = query.data;
  const state = delivery?.state ?? message.delivery ?? "queued";
  return (
    <div className="flex flex-col gap-3 p-4 text-sm">
      <p className="flex items-start gap-2 font-medium">
        <span className="mt-0.5">
          <Tick state={state} />
        </span>
        <span>{state === "stored" && summary !== null ? `${summary}.` : t.delivery.head[state]}</span>
      </p>
      {query.error === null ? null : <p className="text-bad">{sentence(query.error)}</p>}
      {delivery?.problem ? <p className="text-bad">{delivery.problem}</p> : null}
      {delivery === undefined || delivery.devices.length === 0 ? null : (
        <ul aria-label={t.delivery.people} className="flex max-h-48 flex-col gap-1.5 overflow-y-auto">
          {delivery.devices.map((device, index) => {
            const { text, detail } = deviceLine(delivery, index, now);
            return (
              <li key={device.device} className="flex items-start gap-2">
                <span className="mt-0.5">
                  <Tick state={device.state} />
                </span>
                <span className="min-w-0">
                  <bdi>{text}</bdi>
                  {detail === null ? null : <span className="block text-xs text-soft">{detail}</span>}
                </span>
              </li>
            );
          })}
        </ul>
      )}
      {delivery === undefined ? null : (
        <ul aria-label={t.delivery.relays} className="flex flex-col gap-1 text-soft">
          {delivery.relays.length === 0 ? <li>{t.delivery.noRelays}</li> : null}
          {delivery.relays.map((copy) => (
            <li key={copy.relay}>
              {t.delivery.relay[copy.state](clean(copy.relay), until(copy.until, now))}
              {copy.problem ? <span className="block text-xs">{copy.problem}</span> : null}
            </li>
          ))}
        </ul>
      )}
      <div className="flex flex-wrap gap-2">
        {state === "failed" ? (
          <Button look="primary" busy={retry.isPending} onPress={() => retry.mutate()}>
            {t.delivery.retry}
          </Button>
        ) : null}
        {delivery === undefined ? null : <Copyable text={technical(message, delivery)} label={t.delivery.copy} />}
      </div>
    </div>
  );
}

function storedLine(message: Message, now: number): string | null {
  if (message.delivery !== "stored" || message.stored_until === null) return null;
  return t.delivery.storedAt(Math.max(1, message.stored_at), until(message.stored_until, now));
}

export function DeliveryButton({ conversation, message, now, tab }: { conversation: string; message: Message; now: number; tab: number }) {
  const state = message.delivery;
  if (state === null) return null;
  return (
    <DialogTrigger>
      <AriaButton aria-label={t.delivery.button(t.delivery.state[state])} excludeFromTabOrder={tab < 0} className="tick-button">
        <Tick state={state} />
      </AriaButton>
      <Popover placement="top end" className="popover w-80 max-w-[92vw]">
        <Dialog aria-label={t.delivery.dialog} className="outline-none">
          <DeliveryDetails conversation={conversation} message={message} summary={storedLine(message, now)} />
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}
