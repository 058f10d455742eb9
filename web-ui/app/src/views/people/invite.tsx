// Making an invite and showing it: link, QR code, how often, how long.

import { useState } from "react";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api, qrUrl } from "../../api/client";
import type { Invite } from "../../api/types";
import { t } from "../../i18n";
import { duration, until } from "../../i18n/format";
import { useNow } from "../../lib/hooks";
import { Button, Copyable } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input, Select } from "../../ui/field";
import { Refusal } from "../../ui/problem";

const USES = [1, 5, 25, 100];
const VALID_S = [3_600, 86_400, 7 * 86_400, 30 * 86_400];

export function InviteLink({ invite, onDone }: { invite: Invite; onDone: () => void }) {
  const now = useNow();
  return (
    <>
      <img src={qrUrl(invite.link)} alt={t.invite.qr} width={208} height={208} className="qr" />
      <Input label={t.invite.yours} value={invite.link} readOnly onFocus={(event) => event.target.select()} hint={t.invite.note} />
      <p className="text-sm text-soft">
        {t.people.usesLeft(invite.uses_left, invite.uses)}, {t.people.expires(until(invite.expires_at, now))}
      </p>
      <div className="flex flex-wrap justify-end gap-2">
        <Copyable text={invite.link} label={t.invite.copy} />
        <Button look="primary" onPress={onDone}>
          {t.app.done}
        </Button>
      </div>
    </>
  );
}

type Props = { open: boolean; onClose: () => void; group?: { id: string; title: string } };

export function NewInvite({ open, onClose, group }: Props) {
  const [uses, setUses] = useState(1);
  const [valid, setValid] = useState(7 * 86_400);
  const create = useAction(
    () => api.post<Invite>("/invites", { uses, valid_s: valid, ...(group === undefined ? {} : { conversation: group.id }) }),
    { refresh: [keys.invites], quiet: true },
  );
  const close = () => {
    onClose();
    create.reset();
  };
  return (
    <Dialog title={group === undefined ? t.invite.title : t.invite.titleGroup(group.title)} open={open} onClose={close}>
      {create.data === undefined ? (
        <form
          className="flex flex-col gap-4"
          onSubmit={(event) => {
            event.preventDefault();
            create.mutate();
          }}
        >
          <div className="grid grid-cols-2 gap-3">
            <Select label={t.invite.uses} value={uses} onChange={(event) => setUses(Number(event.target.value))}>
              {USES.map((n) => (
                <option key={n} value={n}>
                  {t.invite.usesOption(n)}
                </option>
              ))}
            </Select>
            <Select label={t.invite.valid} value={valid} onChange={(event) => setValid(Number(event.target.value))}>
              {VALID_S.map((s) => (
                <option key={s} value={s}>
                  {duration(s)}
                </option>
              ))}
            </Select>
          </div>
          <Refusal error={create.error} />
          <Button type="submit" look="primary" wide autoFocus busy={create.isPending}>
            {t.invite.create}
          </Button>
        </form>
      ) : (
        <InviteLink invite={create.data} onDone={close} />
      )}
    </Dialog>
  );
}
