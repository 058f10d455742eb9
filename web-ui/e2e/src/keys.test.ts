// The first conversation, by key events alone: any pointer event fails it.

import { firstConversation } from "./conversation.js";
import { keys } from "./hands.js";

firstConversation("keys", keys);
