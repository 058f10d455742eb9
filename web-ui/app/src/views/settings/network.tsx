// Relays and the state of the network, in sentences.

import { useState, type FormEvent } from "react";
import { api, sentence } from "../api/client";
import { keys } from "../api/cache";
import { useAction, useNetwork } from "../api/queries";
import type { Network, Relay, RelayTest } from "../api/types";
import { t } from "../i18n";
import { duration } from "../i18n/format";
import { keepFocus } from "../lib/focus";
import { clean } from "../lib/text";
import { Confirm } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { Button, IconButton, Input, Skeleton } from "../ui/kit";
import { Problem } from "./onboarding";

function RelayLine({ relay }: { relay: Relay }) {
  const [asking, setAsking] = useState(false);
  const remove = useAction(() => api.delete(`/relays/${relay.id}`), { refresh: [keys.network],
    done: () => {
      setAsking(false);
      keepFocus();
    },
  });
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
      <IconButton icon="trash" label={t.settings.removeRelay(name)} onPress={() => setAsking(true)} />
      <Confirm
        title={t.settings.removeRelayTitle(name)}
        body={t.settings.removeRelayBody}
        action={t.settings.removeAction}
        open={asking}
        busy={remove.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => remove.mutate()}
      />
    </li>
  );
}

function AddRelay() {
  const [link, setLink] = useState("");
  const [tried, setTried] = useState(false);
  const own = link.trim();
  const test = useAction((body: { link: string }) => api.post<RelayTest>("/relays/test", body), { quiet: true });
  const add = useAction((body: { link: string }) => api.post<Relay>("/relays", body), {
    quiet: true,
    refresh: [keys.network],
    done: () => {
      setLink("");
      setTried(false);
      test.reset();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (own !== "") add.mutate({ link: own });
  };
  const error = add.error ?? test.error;
  return (
    <form noValidate onSubmit={submit} className="flex flex-col gap-3">
      <Input
        label={t.settings.communityLink}
        hint={t.onboarding.communityHint}
        problem={tried && own === "" ? t.onboarding.needLink : null}
        value={link}
        maxLength={4096}
        onChange={(event) => {
          setLink(event.target.value);
          test.reset();
          add.reset();
        }}
      />
      {error === null ? null : <Problem text={sentence(error)} />}
      {test.data === undefined ? null : test.data.ok ? (
        <p role="status" className="flex items-start gap-2 text-sm text-accent-text">
          <Icon name="check" size={16} className="mt-0.5 shrink-0" />
          {t.settings.testOk(clean(test.data.name), typeof test.data.retention_s === "number" ? duration(test.data.retention_s) : null)}
        </p>
      ) : (
        <Problem text={test.data.problem ?? t.settings.testBad} />
      )}
      <div className="flex gap-2">
        <Button
          busy={test.isPending}
          onPress={() => {
            setTried(true);
            if (own !== "") test.mutate({ link: own });
          }}
        >
          {test.isPending ? t.settings.testing : t.settings.test}
        </Button>
        <Button type="submit" look="primary" busy={add.isPending}>
          {t.settings.addRelay}
        </Button>
      </div>
    </form>
  );
}

function peerSentence(path: string, name: string): string {
  switch (path) {
    case "direct_quic":
    case "direct_tcp":
    case "circuit":
      return t.settings.peerPath[path](name);
    default:
      return t.settings.peerPath.other(name);
  }
}

function State({ network }: { network: Network }) {
  return (
    <div className="flex flex-col gap-2 text-sm">
      <h3 className="font-medium">{t.settings.state}</h3>
      {network.peers.length === 0 ? <p className="text-soft">{t.settings.peersNone}</p> : null}
      <ul aria-label={t.settings.state} className="flex flex-col gap-1 text-soft">
        {network.peers.map((peer, index) => (
          <li key={`${peer.account ?? ""}/${index}`}>
            <bdi>{peerSentence(peer.path, clean(peer.name))}</bdi>
          </li>
        ))}
      </ul>
      <p className="text-soft">{t.settings.waiting(network.waiting)}</p>
      {network.addrs.length === 0 ? null : (
        <details>
          <summary className="cursor-pointer text-soft">{t.settings.addrs}</summary>
          <ul className="mt-1 font-mono text-xs break-all text-soft">
            {network.addrs.map((addr) => (
              <li key={addr}>{addr}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

export function NetworkSection() {
  const network = useNetwork();
  if (network.data === undefined) {
    return network.error === null ? <Skeleton rows={2} /> : <Problem text={sentence(network.error)} />;
  }
  const { relays } = network.data;
  return (
    <div className="flex flex-col gap-6">
      <p className="text-sm text-soft">{t.settings.relaysBody}</p>
      {relays.length === 0 ? (
        <p className="text-sm">{t.settings.noRelays}</p>
      ) : (
        <ul aria-label={t.group.relays} className="flex flex-col gap-2">
          {relays.map((relay) => (
            <RelayLine key={relay.id} relay={relay} />
          ))}
        </ul>
      )}
      <AddRelay />
      <State network={network.data} />
    </div>
  );
}
