// Dialogs over the page. React Aria keeps the focus inside and gives it back.

import type { ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { t } from "../i18n";
import { Button, IconButton } from "./button";

type Props = {
  title: string;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
  /** For decisions that cannot be taken back: no closing by a click outside. */
  alert?: boolean;
  wide?: boolean;
};

export function Dialog({ title, open, onClose, children, alert = false, wide = false }: Props) {
  return (
    <ModalOverlay
      isOpen={open}
      onOpenChange={(now) => {
        if (!now) onClose();
      }}
      isDismissable={!alert}
      className="overlay fixed inset-0 z-40 flex items-end justify-center overflow-y-auto wide:items-center wide:p-4"
    >
      <Modal className={`dialog relative max-h-full w-full overflow-y-auto bg-raised shadow-float outline-none wide:rounded-xl ${wide ? "wide:max-w-xl" : "wide:max-w-md"}`}>
        <AriaDialog role={alert ? "alertdialog" : "dialog"} className="flex flex-col gap-4 p-5 outline-none">
          <div className="flex items-start justify-between gap-4">
            <Heading slot="title" className="min-w-0 text-lg font-semibold break-words">
              {title}
            </Heading>
            {alert ? null : <IconButton icon="x" label={t.app.close} onPress={onClose} className="-mt-1 -mr-2" />}
          </div>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

type ConfirmProps = {
  title: string;
  body: string;
  action: string;
  open: boolean;
  busy?: boolean;
  /** Of the action: nothing is lost by `primary`. */
  look?: "danger" | "primary";
  onClose: () => void;
  onConfirm: () => void;
};

/** Says what will be, or what will be lost, and asks once. */
export function Confirm({ title, body, action, open, busy = false, look = "danger", onClose, onConfirm }: ConfirmProps) {
  return (
    <Dialog title={title} open={open} onClose={onClose} alert>
      <p className="text-sm text-soft">{body}</p>
      <div className="flex flex-wrap justify-end gap-2">
        <Button autoFocus onPress={onClose}>
          {t.app.cancel}
        </Button>
        <Button look={look} busy={busy} onPress={onConfirm}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
