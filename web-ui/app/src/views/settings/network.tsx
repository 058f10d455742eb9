// Relays and the state of the network, in sentences.

import { useNetwork } from "../../api/queries";
import type { Network } from "../../api/types";
import { t } from "../../i18n";
import { clean } from "../../lib/text";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { AddRelay, RelayLine } from "./relays";

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
    return network.error === null ? <Skeleton rows={2} /> : <Refusal error={network.error} />;
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
