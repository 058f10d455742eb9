// Deleting a conversation from this computer.

import { client, keys } from "../../api/cache";
import { api } from "../../api/client";
import type { Conversation } from "../../api/types";
import { t } from "../../i18n";
import { navigate, paths } from "../../lib/router";
import { AskFirst } from "../../ui/ask";
import { Button } from "../../ui/button";

export function DeleteConversation({ conversation }: { conversation: Conversation }) {
  const { id } = conversation;
  const leaving = conversation.kind === "group" && conversation.standing === "active";
  return (
    <AskFirst
      title={t.group.deleteTitle}
      body={leaving ? t.group.deleteBodyGroup : t.group.deleteBody}
      action={t.group.delete}
      run={() => api.delete(`/conversations/${id}`)}
      refresh={[keys.conversations]}
      done={() => {
        navigate(paths.home, { replace: true });
        client.setQueryData<Conversation[]>(keys.conversations, (list) => list?.filter((c) => c.id !== id));
      }}
    >
      {(ask) => (
        <Button look="danger" icon="trash" wide onPress={ask}>
          {t.group.delete}
        </Button>
      )}
    </AskFirst>
  );
}
