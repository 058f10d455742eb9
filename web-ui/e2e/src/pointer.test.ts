// The first conversation, with a pointer.

import { firstConversation } from "./conversation.js";
import { pointer } from "./hands.js";

firstConversation("pointer", pointer);
