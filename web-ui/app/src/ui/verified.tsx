// The mark of a person whose safety number was compared.

import { t } from "../i18n";
import { Icon } from "./icon";

export function VerifiedMark({ size }: { size: number }) {
  return (
    <span className="text-accent-text" title={t.people.verified}>
      <Icon name="shieldCheck" size={size} />
      <span className="sr-only">{t.people.verified}</span>
    </span>
  );
}
