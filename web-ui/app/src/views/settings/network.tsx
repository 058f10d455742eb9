// Relays and the state of the network, in sentences.

import { useNetwork } from "../../api/queries";
import { t } from "../../i18n";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";
import { Doctor } from "./doctor";
import { AddRelay, RelayLine } from "./relays";

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
      <Doctor network={network.data} />
    </div>
  );
}
