// The safety number of a person: to compare, and to mark as compared.

import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api, qrUrl } from "../../api/client";
import { useSafety } from "../../api/queries";
import type { Contact } from "../../api/types";
import { t } from "../../i18n";
import { shownName } from "../../lib/names";
import { clean } from "../../lib/text";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Switch } from "../../ui/field";
import { Skeleton } from "../../ui/panel";
import { Refusal } from "../../ui/problem";

export function SafetyDialog({ contact, open, onClose }: { contact: Contact; open: boolean; onClose: () => void }) {
  const safety = useSafety(contact.account, open);
  const verify = useAction((verified: boolean) => api.put(`/contacts/${contact.account}`, { verified }), {
    refresh: [keys.contacts, keys.safety(contact.account)],
  });
  const name = clean(shownName(contact));
  return (
    <Dialog title={t.person.safetyTitle} open={open} onClose={onClose}>
      <p className="text-sm text-soft">{t.person.safetyBody(name)}</p>
      <Refusal error={safety.error} />
      {safety.data === undefined ? (
        safety.error === null ? (
          <Skeleton rows={3} />
        ) : null
      ) : (
        <>
          <img src={qrUrl(safety.data.qr_text)} alt={t.person.qr} width={208} height={208} className="qr" />
          <div role="group" aria-label={t.person.digits} className="mx-auto grid w-fit grid-cols-4 gap-x-5 gap-y-2 font-mono text-base tabular-nums">
            {safety.data.digits.map((five, index) => (
              // The groups have no identity but their place.
              <span key={`${index}-${five}`}>{five}</span>
            ))}
          </div>
          <Switch
            label={t.person.verified}
            hint={t.person.verifiedHint}
            checked={verify.isPending ? verify.variables : safety.data.verified}
            onChange={(checked) => verify.mutate(checked)}
          />
        </>
      )}
      <div className="flex justify-end">
        <Button look="primary" onPress={onClose}>
          {t.app.done}
        </Button>
      </div>
    </Dialog>
  );
}
