// What else can be done with a message, behind "More".

import { Button as AriaButton, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { t } from "../../i18n";
import { Icon } from "../../ui/icon";

type Props = { tab: number; onReport: () => void };

export function MessageMenu({ tab, onReport }: Props) {
  return (
    <MenuTrigger>
      <AriaButton aria-label={t.timeline.more} excludeFromTabOrder={tab < 0} className="tool">
        <Icon name="more" size={16} />
      </AriaButton>
      <Popover placement="bottom end" className="popover">
        <Menu className="menu" onAction={onReport}>
          <MenuItem id="report" className="menu-item">
            <Icon name="flag" size={16} /> {t.report.menu}
          </MenuItem>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
