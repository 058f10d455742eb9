// The relays in use: their state, removing one, testing and adding another.

import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Relay, RelayTest } from "../../api/types";
import { t } from "../../i18n";
import { duration } from "../../i18n/format";
import { clean } from "../../lib/text";
import { AskFirst } from "../../ui/ask";
import { Button, IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Problem, Refusal } from "../../ui/problem";
import { RelayLinkInput, useRelayLink } from "../relay-link";

export function RelayLine({ relay }: { relay: Relay }) {
  const name = clean(relay.name);
  return (
    <li className="flex items-center gap-3 rounded-lg border border-line bg-raised py-2 pr-2 pl-4">
      <span className={relay.up ? "text-accent-text" : "text-bad"}>
        <Icon name={relay.up ? "relay" : "wifiOff"} />
      </span>
      <span className="min-w-0 flex-1">
        <bdi className="block truncate text-left text-sm font-medium">{name}</bdi>
        <span className={`block text-xs ${relay.up ? "text-soft" : "text-bad"}`}>
          {relay.up ? t.settings.relayUp(relay.retention_s === null ? null : duration(relay.retention_s)) : (relay.problem ?? t.settings.relayDown)}
        </span>
      </span>
      <AskFirst
        title={t.settings.removeRelayTitle(name)}
        body={t.settings.removeRelayBody}
        action={t.settings.removeAction}
        run={() => api.delete(`/relays/${relay.id}`)}
        refresh={[keys.network]}
      >
        {(ask) => <IconButton icon="trash" label={t.settings.removeRelay(name)} onPress={ask} />}
      </AskFirst>
    </li>
  );
}

export function AddRelay() {
  const test = useAction((body: { link: string }) => api.post<RelayTest>("/relays/test", body), { quiet: true });
  const relay = useRelayLink(() => test.reset());
  const { link, add, form } = relay;
  const error = add.error ?? test.error;
  return (
    <form noValidate onSubmit={form.submit} className="flex flex-col gap-3">
      <RelayLinkInput value={relay} label={t.settings.communityLink} onChange={() => test.reset()} />
      <Refusal error={error} />
      {test.data === undefined ? null : test.data.ok ? (
        <p role="status" className="flex items-start gap-2 text-sm text-accent-text">
          <Icon name="check" size={16} className="mt-0.5 shrink-0" />
          {t.settings.testOk(clean(test.data.name), typeof test.data.retention_s === "number" ? duration(test.data.retention_s) : null)}
        </p>
      ) : (
        <Problem text={test.data.problem ?? t.settings.testBad} />
      )}
      <div className="flex gap-2">
        <Button busy={test.isPending} onPress={() => form.attempt(() => test.mutate({ link }))}>
          {test.isPending ? t.settings.testing : t.settings.test}
        </Button>
        <Button type="submit" look="primary" busy={add.isPending}>
          {t.settings.addRelay}
        </Button>
      </div>
    </form>
  );
}
