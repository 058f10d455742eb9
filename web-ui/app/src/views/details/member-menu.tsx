// What may be done with a member: a menu of what the group would take, and the
// question before each of it.

import { useState } from "react";
import { Button as AriaButton, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { useAction } from "../../api/action";
import { keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Member } from "../../api/types";
import { t } from "../../i18n";
import { keepFocus } from "../../lib/focus";
import { offers, type Act } from "../../lib/roles";
import { clean } from "../../lib/text";
import { Confirm } from "../../ui/dialog";
import { Icon, type IconName } from "../../ui/icon";

const icons: Record<Act, IconName> = { owner: "key", admin: "shield", member: "down", remove: "x" };

type Props = {
  id: string;
  member: Member;
  /** Nobody else here has a role. */
  alone: boolean;
};

type Words = { label: string; title: string; body: string; action: string };

function words(act: Act, member: Member, alone: boolean): Words {
  const name = clean(member.name);
  if (act === "member" && member.me) {
    return { label: t.group.stepDown, title: t.group.stepDownTitle, body: t.group.stepDownBody(alone), action: t.group.stepDown };
  }
  const of = t.group.act[act];
  return { label: of.label, title: of.title(name), body: of.body, action: of.action };
}

export function MemberMenu({ id, member, alone }: Props) {
  const acts = offers(member);
  const [asking, setAsking] = useState<Act | null>(null);
  const place = `/conversations/${id}/members/${member.account}`;
  const run = useAction((act: Act) => (act === "remove" ? api.delete(place) : api.put(`${place}/role`, { role: act })), {
    refresh: [keys.details(id), keys.conversations],
    done: () => {
      setAsking(null);
      keepFocus();
    },
  });
  // Kept while its dialog closes, and while the details are fetched again.
  const [last, setLast] = useState<Act>("remove");
  const ask = words(last, member, alone);
  return (
    <>
      {acts.length === 0 ? null : (
        <MenuTrigger>
          <AriaButton aria-label={t.group.manage(member.me ? t.group.yourself : clean(member.name))} className="icon-button">
            <Icon name="more" size={18} />
          </AriaButton>
          <Popover placement="bottom end" className="popover">
            <Menu
              className="menu"
              onAction={(key) => {
                const act = acts.find((a) => a === key);
                if (act === undefined) return;
                setLast(act);
                setAsking(act);
              }}
            >
              {acts.map((act) => (
                <MenuItem key={act} id={act} className={`menu-item ${act === "remove" ? "text-bad" : ""}`}>
                  <Icon name={icons[act]} size={16} /> {words(act, member, alone).label}
                </MenuItem>
              ))}
            </Menu>
          </Popover>
        </MenuTrigger>
      )}
      <Confirm
        title={ask.title}
        body={ask.body}
        action={ask.action}
        open={asking !== null}
        busy={run.isPending}
        look={last === "owner" || last === "admin" ? "primary" : "danger"}
        onClose={() => setAsking(null)}
        onConfirm={() => run.mutate(last)}
      />
    </>
  );
}
