// The last step: a community's relay, or none.

import { t } from "../../i18n";
import { Button } from "../../ui/button";
import { Refusal } from "../../ui/problem";
import { RelayLinkInput, useRelayLink } from "../relay-link";
import { Step } from "./step";

export function Community({ onDone }: { onDone: () => void }) {
  const relay = useRelayLink(onDone);
  return (
    <Step n={4} title={t.onboarding.community} lead={t.onboarding.communityBody}>
      <form noValidate onSubmit={relay.form.submit} className="flex flex-col gap-4">
        <RelayLinkInput value={relay} label={t.onboarding.communityLink} autoFocus />
        <Refusal error={relay.add.error} />
        <Button type="submit" look="primary" wide busy={relay.add.isPending}>
          {t.onboarding.joinCommunity}
        </Button>
      </form>
      <div className="flex flex-col gap-2 border-t border-line pt-4">
        <Button look="plain" wide onPress={onDone}>
          {t.onboarding.noCommunity}
        </Button>
        <p className="text-xs text-soft">{t.onboarding.noCommunityHint}</p>
      </div>
    </Step>
  );
}
