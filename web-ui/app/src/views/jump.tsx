// Jump to anything: conversations, people, views. Opened by Ctrl/⌘ K.

import { useMemo } from "react";
import { Autocomplete, Dialog, Input, Menu, MenuItem, Modal, ModalOverlay, SearchField, useFilter } from "react-aria-components";
import { useContacts, useConversations } from "../api/queries";
import { t } from "../i18n";
import { shownName } from "../lib/names";
import { navigate, paths } from "../lib/router";
import { clean } from "../lib/text";
import { Avatar } from "../ui/avatar";
import { Icon, type IconName } from "../ui/icon";

type Target = { key: string; name: string; kind: string; run: () => void; icon?: IconName; avatar?: { id: string; group: boolean } };

export function Jump({ onClose, onHelp }: { onClose: () => void; onHelp: () => void }) {
  const conversations = useConversations().data;
  const contacts = useContacts().data;
  const { contains } = useFilter({ sensitivity: "base" });

  const targets = useMemo<Target[]>(() => {
    const open = (path: string) => () => navigate(path);
    const view = (key: string, name: string, icon: IconName, run: () => void): Target => ({ key, name, kind: t.jump.view, icon, run });
    return [
      ...(conversations ?? []).map((c) => ({
        key: c.id,
        name: clean(c.title),
        kind: c.kind === "group" ? t.jump.group : t.jump.conversation,
        run: open(paths.chat(c.id)),
        avatar: { id: c.peer ?? c.id, group: c.kind === "group" },
      })),
      ...(contacts ?? [])
        .filter((c) => c.conversation === null)
        .map((c) => ({
          key: c.account,
          name: clean(shownName(c)),
          kind: t.jump.person,
          run: open(paths.person(c.account)),
          avatar: { id: c.account, group: false },
        })),
      view("people", t.people.title, "people", open(paths.people)),
      view("new-group", t.group.title, "group", open(paths.newGroup)),
      view("settings", t.settings.title, "settings", open(paths.settings())),
      view("network", t.settings.network, "relay", open(paths.settings("network"))),
      view("keyboard", t.keyboard.title, "info", onHelp),
    ];
  }, [contacts, conversations, onHelp]);

  return (
    <ModalOverlay
      isOpen
      isDismissable
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
      className="overlay fixed inset-0 z-40 flex items-start justify-center p-3 wide:pt-[12vh]"
    >
      <Modal className="dialog w-full max-w-lg overflow-hidden rounded-xl bg-raised shadow-float outline-none">
        <Dialog aria-label={t.jump.title} className="flex max-h-[70vh] flex-col outline-none">
          <Autocomplete filter={contains}>
            <SearchField aria-label={t.jump.title} autoFocus className="flex items-center gap-3 border-b border-line px-4">
              <Icon name="search" className="shrink-0 text-soft" />
              <Input placeholder={t.jump.placeholder} className="jump-input" />
            </SearchField>
            {/* Focus stays in the field; this lets the keyboard scroll as well. */}
            <div className="overflow-y-auto" tabIndex={0}>
              <Menu
                aria-label={t.jump.results}
                items={targets}
                className="menu p-2"
                renderEmptyState={() => <p className="p-4 text-sm text-soft">{t.jump.nothing}</p>}
                onAction={(key) => {
                  onClose();
                  targets.find((target) => target.key === key)?.run();
                }}
              >
                {(target) => (
                  <MenuItem id={target.key} textValue={target.name} className="menu-item">
                    {target.avatar === undefined ? (
                      <span className="grid size-7 place-items-center text-soft">{target.icon === undefined ? null : <Icon name={target.icon} />}</span>
                    ) : (
                      <Avatar id={target.avatar.id} name={target.name} group={target.avatar.group} size="s" />
                    )}
                    <bdi className="min-w-0 flex-1 truncate text-left">{target.name}</bdi>
                    <span className="text-xs text-soft">{target.kind}</span>
                  </MenuItem>
                )}
              </Menu>
            </div>
          </Autocomplete>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
