// What one can begin: a group, an invite.

import { Button, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { t } from "../../i18n";
import { navigate, paths } from "../../lib/router";
import { Icon } from "../../ui/icon";

export function NewMenu() {
  return (
    <MenuTrigger>
      <Button aria-label={t.nav.new} className="icon-button">
        <Icon name="plus" size={20} />
      </Button>
      <Popover placement="bottom end" className="popover">
        <Menu className="menu">
          <MenuItem className="menu-item" onAction={() => navigate(paths.newGroup)}>
            <Icon name="group" /> {t.nav.newGroup}
          </MenuItem>
          <MenuItem className="menu-item" onAction={() => navigate(paths.people)}>
            <Icon name="people" /> {t.nav.invite}
          </MenuItem>
          <MenuItem className="menu-item" onAction={() => navigate(paths.people)}>
            <Icon name="link" /> {t.nav.pasteInvite}
          </MenuItem>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
