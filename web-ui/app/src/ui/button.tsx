// Buttons: with words, with a picture, and the one that copies a text.

import { useState, type ReactNode, type Ref } from "react";
import { Button as AriaButton, type ButtonProps as AriaButtonProps } from "react-aria-components";
import { copyText } from "../lib/copy";
import { Icon, type IconName } from "./icon";

type Look = "primary" | "plain" | "quiet" | "danger";

type ButtonProps = Omit<AriaButtonProps, "className" | "children"> & {
  look?: Look;
  icon?: IconName;
  busy?: boolean;
  wide?: boolean;
  children: ReactNode;
  ref?: Ref<HTMLButtonElement>;
};

export function Button({ look = "plain", icon, busy = false, wide = false, children, ...rest }: ButtonProps) {
  // Busy is not disabled: the focus stays. useAction ignores a second press.
  return (
    <AriaButton {...rest} data-busy={busy ? true : undefined} className={`button button-${look} ${wide ? "w-full" : ""}`}>
      {icon === undefined ? null : <Icon name={icon} size={16} />}
      <span className="min-w-0 truncate">{children}</span>
    </AriaButton>
  );
}

type IconButtonProps = Omit<AriaButtonProps, "className" | "children"> & { icon: IconName; label: string; size?: number; className?: string };

export function IconButton({ icon, label, size = 20, className = "", ...rest }: IconButtonProps) {
  return (
    <AriaButton {...rest} aria-label={label} className={`icon-button ${className}`}>
      <Icon name={icon} size={size} />
    </AriaButton>
  );
}

/** A text that is there to be copied. */
export function Copyable({ text, label }: { text: string; label: string }) {
  // A text that changed meanwhile is not the one in the clipboard.
  const [copied, setCopied] = useState<string | null>(null);
  return (
    <Button
      icon={copied === text ? "check" : "copy"}
      onPress={() => {
        void copyText(text).then((done) => setCopied(done ? text : null));
      }}
    >
      {label}
    </Button>
  );
}
